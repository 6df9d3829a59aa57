package ulysses.driver.plan;

/**
 * Heads of the busiest rank of a sequence-parallel group, and of all of them: the arithmetic of the runtime's HeadLayout, which lives
 * behind the wall of native code; a test holds both together.
 *
 * @param queryHeads N
 * @param kvHeads K
 * @param group P, at most N
 */
public record HeadShare(int queryHeads, int kvHeads, int group) {

    /** Query heads of the busiest rank, n. */
    public int queries() {
        return queries(0);
    }

    private int queries(int rank) {
        return queryHeads / group + (rank < queryHeads % group ? 1 : 0);
    }

    private int firstKv(int rank) {
        int firstQuery = rank * (queryHeads / group) + Math.min(rank, queryHeads % group);
        return firstQuery / (queryHeads / kvHeads);
    }

    private int kvs(int rank) {
        int firstQuery = rank * (queryHeads / group) + Math.min(rank, queryHeads % group);
        return (firstQuery + queries(rank) - 1) / (queryHeads / kvHeads) - firstKv(rank) + 1;
    }

    /** Most kv heads that a rank gets, k. */
    public int kvs() {
        int most = 0;
        for (int rank = 0; rank < group; rank++) {
            most = Math.max(most, kvs(rank));
        }
        return most;
    }

    /** Heads that travel when q, k and v are exchanged together, copies included: N + 2K where P divides K. */
    public int packed() {
        int sum = 0;
        for (int rank = 0; rank < group; rank++) {
            sum += queries(rank) + 2 * kvs(rank);
        }
        return sum;
    }
}
