package ulysses.driver.packing;

import java.io.Closeable;
import java.io.IOException;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import ulysses.runtime.config.TrainingConfig.Packing;
import ulysses.runtime.data.PackedRow;

/** Makes rows of the examples of one shard, which come in order of their place. One thread; close it in any case. */
interface RowMaker extends Closeable {

    /** Takes the example at {@code place} of its data set, counted over all rows, dropped ones included. */
    void add(long place, EncodedExample example) throws IOException;

    /** The same for a pair, whose documents stay next to each other in one row. */
    default void add(long place, EncodedPair pair) throws IOException {
        throw new IllegalArgumentException(getClass().getSimpleName() + " makes no rows of pairs");
    }

    /** Makes the last rows. */
    void finish() throws IOException;

    /** Tokens that are in no row, because the packing drops them. */
    default long leftOutTokens() {
        return 0;
    }

    @Override
    default void close() throws IOException {}

    /** Takes finished rows. */
    @FunctionalInterface
    interface Sink {
        void accept(PackedRow row) throws IOException;
    }

    /**
     * Numbers that rows depend on.
     *
     * @param rowTokens tokens a row holds
     * @param batchSize examples of one batch of LLaMA-Factory's packing
     * @param padId fills up rows of LLaMA-Factory's packing
     * @param blockStart replaces the first token of each block of LLaMA-Factory's pretraining, for tokenizers that begin texts
     *     with a token of their own; -1 replaces none
     */
    record Shape(int rowTokens, int batchSize, int padId, int blockStart) implements Serializable {

        /** Tokens that examples of one row may have together. */
        int capacity(Packing packing) {
            // LLaMA-Factory keeps one place for padding, without which flash attention would lose its mask.
            boolean padded = packing == Packing.LLAMAFACTORY_NEAT || packing == Packing.LLAMAFACTORY_MIXED;
            return padded ? rowTokens - 1 : rowTokens;
        }
    }

    /** A maker for {@code packing}. */
    static RowMaker of(Packing packing, Shape shape, Sink sink) throws IOException {
        return switch (packing) {
            case NONE -> new OneExampleEach(sink);
            case BEST_FIT -> new BestFit(shape, sink, new SpilledExamples(), new HashMap<>());
            case LLAMAFACTORY_NEAT ->
                new KnapsackBatches(shape, sink, new SpilledExamples(), PackedRow.Attention.DOCUMENT);
            case LLAMAFACTORY_MIXED -> new KnapsackBatches(shape, sink, new SpilledExamples(), PackedRow.Attention.ROW);
            case LLAMAFACTORY_BLOCKS -> new Blocks(shape, sink);
        };
    }

    /** One example, or one pair, a row. */
    record OneExampleEach(Sink sink) implements RowMaker {
        @Override
        public void add(long place, EncodedExample example) throws IOException {
            sink.accept(new PackedRow(example.ids(), example.labels(), new int[] {example.length()}));
        }

        @Override
        public void add(long place, EncodedPair pair) throws IOException {
            EncodedExample joined = pair.joined();
            int[] lengths = {pair.chosen().length(), pair.rejected().length()};
            sink.accept(new PackedRow(joined.ids(), joined.labels(), lengths));
        }

        @Override
        public void finish() {}
    }

    /**
     * Best fit over the whole shard; examples longer than a row become pieces of one row each and a rest. A pair is one piece of two
     * documents.
     */
    record BestFit(Shape shape, Sink sink, SpilledExamples examples, Map<Integer, Integer> chosenLengths)
            implements RowMaker {
        private record Piece(int example, int from, int length) {}

        @Override
        public void add(long place, EncodedExample example) throws IOException {
            examples.add(example);
        }

        @Override
        public void add(long place, EncodedPair pair) throws IOException {
            EncodedExample joined = pair.joined();
            if (joined.length() > shape.rowTokens()) {
                throw new IllegalArgumentException(
                        "a pair of %d tokens for rows of %d".formatted(joined.length(), shape.rowTokens()));
            }
            chosenLengths.put(examples.count(), pair.chosen().length());
            examples.add(joined);
        }

        @Override
        public void finish() throws IOException {
            List<Piece> pieces = new ArrayList<>();
            for (int example = 0; example < examples.count(); example++) {
                for (int from = 0; from < examples.length(example); from += shape.rowTokens()) {
                    int length = Math.min(shape.rowTokens(), examples.length(example) - from);
                    pieces.add(new Piece(example, from, length));
                }
            }
            int[] lengths = pieces.stream().mapToInt(Piece::length).toArray();
            for (List<Integer> row : SequencePacker.bestFit(lengths, shape.rowTokens())) {
                sink.accept(row(row.stream().map(pieces::get).toList()));
            }
        }

        private PackedRow row(List<Piece> pieces) throws IOException {
            int total = pieces.stream().mapToInt(Piece::length).sum();
            SpilledExamples.Target target = new SpilledExamples.Target(new int[total], new int[total]);
            int[] lengths = pieces.stream().flatMapToInt(this::documents).toArray();
            int at = 0;
            for (Piece piece : pieces) {
                examples.copy(piece.example(), piece.from(), piece.length(), target, at);
                at += piece.length();
            }
            return new PackedRow(target.ids(), target.labels(), lengths);
        }

        private IntStream documents(Piece piece) {
            int chosen = chosenLengths.getOrDefault(piece.example(), 0);
            return chosen == 0 ? IntStream.of(piece.length()) : IntStream.of(chosen, piece.length() - chosen);
        }

        @Override
        public void close() throws IOException {
            examples.close();
        }
    }

    /** LLaMA-Factory's packing of conversations: a greedy knapsack over each batch of places, rows padded to full length. */
    final class KnapsackBatches implements RowMaker {
        private final Shape shape;
        private final Sink sink;
        private final SpilledExamples waiting;
        private final PackedRow.Attention attention;
        private long batch;

        private KnapsackBatches(Shape shape, Sink sink, SpilledExamples waiting, PackedRow.Attention attention) {
            this.shape = shape;
            this.sink = sink;
            this.waiting = waiting;
            this.attention = attention;
        }

        @Override
        public void add(long place, EncodedExample example) throws IOException {
            if (place / shape.batchSize() != batch) {
                finish();
                batch = place / shape.batchSize();
            }
            waiting.add(example);
        }

        @Override
        public void finish() throws IOException {
            int[] lengths =
                    IntStream.range(0, waiting.count()).map(waiting::length).toArray();
            for (List<Integer> row : SequencePacker.knapsack(lengths, shape.capacity(Packing.LLAMAFACTORY_NEAT))) {
                sink.accept(row(row));
            }
            waiting.clear();
        }

        private PackedRow row(List<Integer> members) throws IOException {
            SpilledExamples.Target target =
                    new SpilledExamples.Target(new int[shape.rowTokens()], new int[shape.rowTokens()]);
            Arrays.fill(target.ids(), shape.padId());
            Arrays.fill(target.labels(), PackedRow.IGNORE_INDEX);
            int[] lengths = members.stream().mapToInt(waiting::length).toArray();
            int at = 0;
            for (int i = 0; i < lengths.length; i++) {
                waiting.copy(members.get(i), 0, lengths[i], target, at);
                at += lengths[i];
            }
            return new PackedRow(target.ids(), target.labels(), lengths, attention);
        }

        @Override
        public void close() throws IOException {
            waiting.close();
        }
    }

    /** LLaMA-Factory's pretraining: the texts of a batch of places behind each other, cut into blocks, the rest left out. */
    final class Blocks implements RowMaker {
        private final Shape shape;
        private final Sink sink;
        private int[] ids;
        private int[] labels;
        private int filled;
        private long batch;
        private long leftOut;

        private Blocks(Shape shape, Sink sink) {
            this.shape = shape;
            this.sink = sink;
            this.ids = new int[shape.rowTokens()];
            this.labels = new int[shape.rowTokens()];
        }

        @Override
        public void add(long place, EncodedExample example) throws IOException {
            if (place / shape.batchSize() != batch) {
                finish();
                batch = place / shape.batchSize();
            }
            int from = 0;
            while (from < example.length()) {
                int count = Math.min(example.length() - from, ids.length - filled);
                System.arraycopy(example.ids(), from, ids, filled, count);
                System.arraycopy(example.labels(), from, labels, filled, count);
                from += count;
                filled += count;
                if (filled == ids.length) {
                    emit();
                }
            }
        }

        private void emit() throws IOException {
            if (shape.blockStart() >= 0) {
                ids[0] = shape.blockStart();
            }
            sink.accept(new PackedRow(ids, labels, new int[] {ids.length}));
            ids = new int[ids.length];
            labels = new int[labels.length];
            filled = 0;
        }

        @Override
        public void finish() {
            leftOut += filled;
            filled = 0;
        }

        @Override
        public long leftOutTokens() {
            return leftOut;
        }
    }
}
