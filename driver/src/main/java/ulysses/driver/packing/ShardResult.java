package ulysses.driver.packing;

import java.io.Serializable;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import ulysses.driver.packing.PrepareReport.Row;
import ulysses.driver.packing.PrepareReport.Rows;
import ulysses.runtime.data.PackedDatasetWriter;

/**
 * What a task made of one shard.
 *
 * @param index number of the shard
 * @param shard the file
 * @param tally what happened to its examples
 */
record ShardResult(int index, PackedDatasetWriter.Shard shard, Tally tally) implements Serializable {

    /** Order of shards in a folder. */
    static final Comparator<ShardResult> BY_INDEX = Comparator.comparingInt(ShardResult::index);

    /**
     * Counts of examples; adding two gives those of both.
     *
     * @param kept examples in a packed row
     * @param dropped examples that are not, by reason
     * @param truncated kept examples that lost tokens
     * @param truncatedTokens tokens they lost
     * @param leftOutTokens tokens the packing left out
     * @param packedRowsOtherwise rows that other packings would make
     */
    record Tally(
            long kept,
            Map<String, Rows> dropped,
            Rows truncated,
            long truncatedTokens,
            long leftOutTokens,
            Map<String, Long> packedRowsOtherwise)
            implements Serializable {
        Tally {
            dropped = Map.copyOf(dropped);
            packedRowsOtherwise = Map.copyOf(packedRowsOtherwise);
        }

        static Tally nothing() {
            return new Tally(0, Map.of(), Rows.none(), 0, 0, Map.of());
        }

        static Tally dropped(String reason, Row row) {
            return new Tally(0, Map.of(reason, Rows.one(row)), Rows.none(), 0, 0, Map.of());
        }

        Tally plus(Tally other) {
            Map<String, Rows> allDropped = new TreeMap<>(dropped);
            other.dropped.forEach((reason, rows) -> allDropped.merge(reason, rows, Rows::plus));
            Map<String, Long> otherwise = new TreeMap<>(packedRowsOtherwise);
            other.packedRowsOtherwise.forEach((packing, rows) -> otherwise.merge(packing, rows, Long::sum));
            return new Tally(
                    kept + other.kept,
                    allDropped,
                    truncated.plus(other.truncated),
                    truncatedTokens + other.truncatedTokens,
                    leftOutTokens + other.leftOutTokens,
                    otherwise);
        }

        static Tally of(List<ShardResult> results) {
            return results.stream().map(ShardResult::tally).reduce(nothing(), Tally::plus);
        }
    }
}
