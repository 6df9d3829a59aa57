package ulysses.runtime.data;

/**
 * Which row stands at a place of an epoch: a pure function of seed, epoch and place, the same for every number of ranks, so that
 * resuming needs nothing but the step number.
 */
@FunctionalInterface
public interface RowOrder {

    /** The row at place {@code index} of {@code epoch}, both from 0. */
    long row(long epoch, long index);

    /** As in the files, each epoch: {@code disable_shuffling: true}, and evaluation. */
    static RowOrder inFileOrder() {
        return (epoch, index) -> index;
    }

    /** Another pseudo-random order of {@code rows} rows each epoch. */
    static RowOrder shuffled(long rows, long seed) {
        return new FeistelOrder(rows, seed);
    }
}
