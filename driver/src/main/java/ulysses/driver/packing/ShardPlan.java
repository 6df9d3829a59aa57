package ulysses.driver.packing;

import java.io.Serializable;
import ulysses.runtime.config.TrainingConfig.Packing;

/**
 * Which row goes into which shard. Packings that depend on order get runs of places, whole batches of LLaMA-Factory's packing;
 * best fit gets hash buckets, large enough to fill rows: with 10 000 examples a bucket rows are at least 99.6 % full at any length
 * that was tried. Long examples make more and smaller shards.
 *
 * @param shards number of shards
 * @param placesPerShard length of a run; 0 means hash buckets
 * @param seed of the hash
 */
record ShardPlan(int shards, long placesPerShard, long seed) implements Serializable {
    private static final long EXAMPLES_PER_BUCKET = 10_000;
    /** Chosen, not tuned: a shard of examples of 2000 tokens has 800 MB. */
    private static final long PLACES_PER_RUN = 50_000;
    /** Input of one shard: chosen, not tuned; as text some 500 million tokens, 4 GB. */
    private static final long BYTES_PER_SHARD = 2L << 30;

    /**
     * Plans for a set.
     *
     * @param rows rows of the set
     * @param bytes of the files they come from
     * @param batchSize examples of one batch of LLaMA-Factory's packing
     */
    static ShardPlan of(Packing packing, long rows, long bytes, int batchSize, long seed) {
        long shardsBySize = bytes / BYTES_PER_SHARD + 1;
        if (packing == Packing.BEST_FIT) {
            return new ShardPlan(count(Math.max(rows / EXAMPLES_PER_BUCKET, shardsBySize)), 0, seed);
        }
        long wanted = Math.min(PLACES_PER_RUN, rows / shardsBySize);
        long places = Math.max(wanted / batchSize, 1) * batchSize;
        return new ShardPlan(count((rows + places - 1) / places), places, seed);
    }

    private static int count(long shards) {
        return Math.toIntExact(Math.max(shards, 1));
    }

    /** Where the row with number {@code rowNumber} belongs, which has {@code place} in its set. */
    Place place(long rowNumber, long place) {
        long shard = placesPerShard > 0 ? place / placesPerShard : Math.floorMod(hash(rowNumber), (long) shards);
        return new Place((int) shard, place);
    }

    /** SplitMix64's finalizer over row number and seed. */
    private long hash(long rowNumber) {
        long z = rowNumber + seed * 0x9E3779B97F4A7C15L + 0x9E3779B97F4A7C15L;
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }
}
