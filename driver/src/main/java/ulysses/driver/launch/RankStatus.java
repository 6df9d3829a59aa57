package ulysses.driver.launch;

/**
 * What the driver last heard of one task.
 *
 * @param partition the task
 * @param rank its world rank; -1 before the ranks have met
 * @param host its machine
 * @param executorId its executor
 * @param phase what the rank is doing
 * @param step optimizer step
 * @param heardNanos when it last gave a sign of life, by {@link System#nanoTime}
 */
record RankStatus(int partition, int rank, String host, String executorId, String phase, long step, long heardNanos) {

    RankStatus withRank(int newRank, long now) {
        return new RankStatus(partition, newRank, host, executorId, "meet", step, now);
    }

    RankStatus withPhase(String newPhase, long newStep, long now) {
        return new RankStatus(partition, rank, host, executorId, newPhase, newStep, now);
    }

    /** "rank 3", or the task when it has no rank yet. */
    String name() {
        return rank < 0 ? "task " + partition : "rank " + rank;
    }
}
