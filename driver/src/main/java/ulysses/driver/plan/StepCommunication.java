package ulysses.driver.plan;

import ulysses.runtime.mesh.HeadLayout;
import ulysses.runtime.weights.KeptActivations.Strength;

/**
 * Bytes that one rank, the busiest of its group, hands to collectives in an optimizer step, its own part included, as the formulas of
 * DeepSpeed-Ulysses (arXiv:2309.14509, section 3.2) count and the runtime's Traffic counts as total.
 *
 * @param allToAll of q, k, v and outputs and their gradients over all layers and micro-batches
 * @param gradients all-reduced over all ranks, float32
 */
public record StepCommunication(long allToAll, long gradients) {

    /** Of a rank of {@code shape}. */
    public static StepCommunication of(RunShape shape) {
        long perMicroBatch = shape.isSplit() ? layers(shape) : 0;
        long gradients = shape.mesh().ranks() > 1 ? 4 * shape.trained() : 0;
        return new StepCommunication(shape.batch().accumulation() * perMicroBatch, gradients);
    }

    /**
     * Forward moves q, k, v and the output; backward the gradients of the output and of q, k, v, and before that once more what was not
     * kept (numerics.md, section 2).
     */
    private static long layers(RunShape shape) {
        HeadLayout heads = shape.heads();
        long perHead = shape.part() * shape.model().headSize() * shape.elementBytes();
        long queryKeyValue = perHead * heads.packed();
        long output = perHead * heads.mostQueries() * shape.mesh().group();
        long outputGradient = perHead * shape.model().heads();
        long gradients = perHead
                * (heads.mostQueries() + 2L * heads.mostKvs())
                * shape.mesh().group();
        int layers = shape.model().layers();
        int exchangingQkvAgain = layers - shape.layersKeeping(Strength.PROJECTIONS);
        int exchangingOutputAgain = layers - shape.layersKeeping(Strength.EVERYTHING);
        return (layers + exchangingQkvAgain) * queryKeyValue
                + (layers + exchangingOutputAgain) * output
                + layers * (outputGradient + gradients);
    }

    /** Bytes of {@link #allToAll} that leave the rank, of {@code group} ranks. */
    public long allToAllSent(int group) {
        return allToAll / group * (group - 1);
    }

    /** Bytes that leave a rank to all-reduce the gradients over {@code ranks}: a reduce-scatter and an all-gather. */
    public long gradientsSent(int ranks) {
        return 2 * (gradients / ranks * (ranks - 1));
    }
}
