package ulysses.driver.packing;

/**
 * How many tokens of a question and of its answer are kept; heads are kept, tails are cut.
 *
 * @param source tokens of the question
 * @param target tokens of the answer
 */
record TurnLengths(int source, int target) {

    /** LLaMA-Factory's {@code infer_seqlen}: a short answer is kept whole, else a short question, else both shrink in proportion. */
    static TurnLengths of(int source, int target, int budget) {
        long longest; // of the answer
        if (target * 2L < budget) {
            longest = budget;
        } else if (source * 2L < budget) {
            longest = (long) budget - source;
        } else {
            longest = (long) (budget * ((double) target / (source + target)));
        }
        int keptTarget = (int) Math.min(longest, target);
        return new TurnLengths(Math.min(Math.max(budget - keptTarget, 0), source), keptTarget);
    }
}
