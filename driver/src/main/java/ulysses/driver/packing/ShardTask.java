package ulysses.driver.packing;

import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.Function2;
import org.apache.spark.util.SerializableConfiguration;
import scala.Tuple2;
import ulysses.driver.packing.PrepareReport.Row;
import ulysses.driver.packing.PrepareReport.Rows;
import ulysses.driver.packing.ShardResult.Tally;
import ulysses.runtime.config.TrainingConfig.Packing;
import ulysses.runtime.data.PackedDataset;
import ulysses.runtime.data.PackedDatasetWriter;
import ulysses.runtime.data.PackedShardWriter;

/**
 * Packs the examples of one shard and writes its file. Memory: the rows of one record batch and some numbers for each example;
 * tokens that wait for their row are on local disk.
 */
final class ShardTask implements Function2<Integer, Iterator<Tuple2<Place, PlacedExample>>, Iterator<ShardResult>> {
    private static final long serialVersionUID = 1L;

    private final Target target;

    /**
     * Where rows go and how they are made.
     *
     * @param folder of the set
     * @param shards number of files
     * @param packing how rows are made
     * @param content texts, or pairs
     * @param shape numbers that rows depend on
     * @param splitsLongExamples whether examples may be longer than a row
     * @param hadoop how to reach the folder
     */
    record Target(
            String folder,
            int shards,
            Packing packing,
            PackedDataset.Content content,
            RowMaker.Shape shape,
            boolean splitsLongExamples,
            SerializableConfiguration hadoop)
            implements Serializable {}

    ShardTask(Target target) {
        this.target = target;
    }

    @Override
    public Iterator<ShardResult> call(Integer index, Iterator<Tuple2<Place, PlacedExample>> examples)
            throws IOException {
        PackedDatasetWriter folder =
                PackedDatasetWriter.of(target.folder(), target.hadoop().value());
        String name = name(index);
        Packer packer = new Packer();
        try (PackedShardWriter writer = folder.shard(name);
                RowMaker maker = RowMaker.of(target.packing(), target.shape(), writer::add)) {
            while (examples.hasNext()) {
                Tuple2<Place, PlacedExample> next = examples.next();
                packer.take(maker, next._1().place(), next._2());
            }
            maker.finish();
            PackedDatasetWriter.Shard shard = new PackedDatasetWriter.Shard(name, writer.finish());
            return List.of(new ShardResult(index, shard, packer.tally(maker))).iterator();
        }
    }

    /** Attempts after the first write to a name of their own: the first one may still be running somewhere. */
    private String name(int index) {
        TaskContext task = TaskContext.get();
        if (task.attemptNumber() == 0 && task.stageAttemptNumber() == 0) {
            return PackedDatasetWriter.shardName(index, target.shards());
        }
        String attempt = "s%da%d".formatted(task.stageAttemptNumber(), task.attemptNumber());
        return PackedDatasetWriter.shardName(index, target.shards(), attempt);
    }

    private final class Packer {
        private Tally tally = Tally.nothing();
        private final Map<Long, List<Integer>> lengthsByBatch = new TreeMap<>();

        private void take(RowMaker maker, long place, PlacedExample placed) throws IOException {
            if (placed.encoded() instanceof Encoded.Dropped dropped) {
                tally = tally.plus(Tally.dropped(dropped.reason(), placed.row()));
                return;
            }
            if (placed.encoded() instanceof EncodedPair pair) {
                take(maker, place, placed.row(), pair);
                return;
            }
            EncodedExample example = (EncodedExample) placed.encoded();
            int capacity = target.shape().capacity(target.packing());
            if (example.length() == 0) {
                tally = tally.plus(Tally.dropped("no tokens", placed.row()));
            } else if (example.length() > capacity && !target.splitsLongExamples()) {
                tally = tally.plus(Tally.dropped("longer than cutoff_len", placed.row()));
            } else {
                maker.add(place, example);
                count(placed.row(), place, example);
            }
        }

        /** Each answer keeps within cutoff_len, of which a row holds two. */
        private void take(RowMaker maker, long place, Row row, EncodedPair pair) throws IOException {
            if (pair.chosen().length() == 0 || pair.rejected().length() == 0) {
                tally = tally.plus(Tally.dropped("no tokens", row));
                return;
            }
            maker.add(place, pair);
            count(row, place, pair.joined());
        }

        private void count(Row row, long place, EncodedExample example) {
            lengthsByBatch
                    .computeIfAbsent(place / target.shape().batchSize(), absent -> new ArrayList<>())
                    .add(example.length());
            Rows truncated = example.truncated() ? Rows.one(row) : Rows.none();
            long lost = example.truncated() ? example.originalTokens() - example.length() : 0;
            tally = tally.plus(new Tally(1, Map.of(), truncated, lost, 0, Map.of()));
        }

        private Tally tally(RowMaker maker) {
            return tally.plus(new Tally(0, Map.of(), Rows.none(), 0, maker.leftOutTokens(), otherwise()));
        }

        /** How many rows the packings for this kind of data would make of the shard. */
        private Map<String, Long> otherwise() {
            return target.splitsLongExamples() ? otherwiseOfTexts() : otherwiseOfConversations();
        }

        private Map<String, Long> otherwiseOfTexts() {
            int cutoff = target.shape().rowTokens();
            int[] pieces = lengthsByBatch.values().stream()
                    .flatMap(List::stream)
                    .flatMapToInt(length -> IntStream.iterate(length, left -> left > 0, left -> left - cutoff)
                            .map(left -> Math.min(left, cutoff)))
                    .toArray();
            long blocks = lengthsByBatch.values().stream()
                    .mapToLong(batch ->
                            batch.stream().mapToLong(Integer::longValue).sum() / cutoff)
                    .sum();
            return Map.of(
                    Packing.BEST_FIT.name(),
                    (long) SequencePacker.bestFit(pieces, cutoff).size(),
                    Packing.LLAMAFACTORY_BLOCKS.name(),
                    blocks);
        }

        private Map<String, Long> otherwiseOfConversations() {
            int capacity = target.shape().capacity(Packing.LLAMAFACTORY_NEAT);
            int[] all = lengths(
                    lengthsByBatch.values().stream().flatMap(List::stream).toList());
            long bestFit =
                    SequencePacker.bestFit(all, target.shape().rowTokens()).size();
            long knapsack = lengthsByBatch.values().stream()
                    .map(Packer::lengths)
                    .mapToLong(batch -> SequencePacker.knapsack(fitting(batch, capacity), capacity)
                            .size())
                    .sum();
            Map<String, Long> rows = new TreeMap<>();
            rows.put(Packing.NONE.name(), (long) all.length);
            rows.put(Packing.BEST_FIT.name(), bestFit);
            if (target.content() == PackedDataset.Content.TEXTS) {
                rows.put(Packing.LLAMAFACTORY_NEAT.name(), knapsack);
            }
            return rows;
        }

        private static int[] lengths(List<Integer> lengths) {
            return lengths.stream().mapToInt(Integer::intValue).toArray();
        }

        /** A full row of ours is one token longer than LLaMA-Factory takes: it would cut it. */
        private static int[] fitting(int[] lengths, int capacity) {
            return Arrays.stream(lengths)
                    .map(length -> Math.min(length, capacity))
                    .toArray();
        }
    }
}
