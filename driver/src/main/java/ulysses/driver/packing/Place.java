package ulysses.driver.packing;

import java.io.Serializable;
import java.util.Comparator;
import org.apache.spark.Partitioner;

/**
 * Where an example belongs: a function of its row number only, so that shards are the same for any number of executors.
 *
 * @param shard file
 * @param place position in the training or evaluation set, counted over all its rows
 */
record Place(int shard, long place) implements Serializable, Comparable<Place> {
    private static final Comparator<Place> ORDER =
            Comparator.comparingInt(Place::shard).thenComparingLong(Place::place);

    @Override
    public int compareTo(Place other) {
        return ORDER.compare(this, other);
    }

    /** One Spark partition a shard. */
    static final class ByShard extends Partitioner {
        private static final long serialVersionUID = 1L;

        private final int shards;

        ByShard(int shards) {
            this.shards = shards;
        }

        @Override
        public int numPartitions() {
            return shards;
        }

        @Override
        public int getPartition(Object key) {
            return ((Place) key).shard();
        }

        @Override
        public boolean equals(Object other) {
            return other instanceof ByShard partitioner && partitioner.shards == shards;
        }

        @Override
        public int hashCode() {
            return shards;
        }
    }
}
