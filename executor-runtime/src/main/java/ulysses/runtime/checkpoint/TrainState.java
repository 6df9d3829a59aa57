package ulysses.runtime.checkpoint;

/**
 * Where a run stands after an optimizer step, apart from its tensors; with these and the configuration it continues exactly.
 *
 * @param step optimizer steps done
 * @param epoch passes over the data done, fractional
 * @param rowsSeen rows taken from the row order since the run began, over all data-parallel groups: the data cursor
 * @param tokensSeen tokens in documents of those rows
 * @param trainedTokens predictions that counted
 * @param lossSum sum over all steps of each step's loss: train_loss is this over the steps
 * @param seconds time spent in steps, earlier attempts included
 * @param seed of the run
 * @param configFingerprint what must be as it was on resume, as text: rows a step, and what decides their order
 * @param dataFingerprint of the prepared rows
 * @param skippedSteps steps that changed nothing because they were not finite: the optimizer has done fewer than {@code step}
 */
public record TrainState(
        long step,
        double epoch,
        long rowsSeen,
        long tokensSeen,
        long trainedTokens,
        double lossSum,
        double seconds,
        long seed,
        String configFingerprint,
        String dataFingerprint,
        long skippedSteps) {

    /** Updates that the optimizer has made. */
    public long updates() {
        return step - skippedSteps;
    }
}
