package ulysses.runtime.data;

import java.util.List;

/**
 * What one data-parallel group works on in one step, and what all groups together do.
 *
 * @param microBatches of this group, as many as every other group has
 * @param globalTrainedTokens targets that count, over all groups and micro-batches of the step: what losses are divided by
 * @param globalTokens tokens without padding, over all groups
 * @param globalDocuments documents, over all groups and micro-batches; two a pair in preference training
 * @param globalRows rows, over all groups
 * @param endsEpoch whether the epoch ends with this step
 */
public record StepBatches(
        List<MicroBatch> microBatches,
        long globalTrainedTokens,
        long globalTokens,
        long globalDocuments,
        int globalRows,
        boolean endsEpoch) {
    public StepBatches {
        microBatches = List.copyOf(microBatches);
    }
}
