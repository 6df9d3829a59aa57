package ulysses.driver.plan;

import ulysses.runtime.mesh.HeadLayout;
import ulysses.runtime.weights.KeptActivations.Strength;

/**
 * Bytes that one rank, the busiest of its group, hands to collectives in an optimizer step, its own part included, as the formulas of
 * DeepSpeed-Ulysses (arXiv:2309.14509, section 3.2) count and the runtime's Traffic counts as total.
 *
 * @param allToAll of q, k, v and outputs and their gradients over all layers and micro-batches
 * @param allReduce of gradients over all ranks, float32, where every rank holds all states
 * @param reduceScatter of gradients over all ranks, float32, where optimizer states are cut: the whole that is summed
 * @param allGather of weights over all ranks where optimizer states are cut: the whole that comes together
 */
public record StepCommunication(long allToAll, long allReduce, long reduceScatter, long allGather) {

    /** Of a rank of {@code shape}. */
    public static StepCommunication of(RunShape shape) {
        long perMicroBatch = shape.isSplit() ? layers(shape) : 0;
        boolean reducedWhole = shape.mesh().ranks() > 1 && shape.mesh().stage() == 0;
        StateMemory states = new StateMemory(shape);
        return new StepCommunication(
                shape.batch().accumulation() * perMicroBatch,
                reducedWhole ? 4 * shape.trained() : 0,
                states.scattered(),
                states.gathered());
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
    public long allReduceSent(int ranks) {
        return 2 * (allReduce / ranks * (ranks - 1));
    }

    /** Bytes of {@link #reduceScatter} that leave the rank, of {@code ranks}. */
    public long reduceScatterSent(int ranks) {
        return reduceScatter / ranks * (ranks - 1);
    }

    /** Bytes of {@link #allGather} that leave the rank, of {@code ranks}. */
    public long allGatherSent(int ranks) {
        return allGather / ranks * (ranks - 1);
    }

    /** All that leaves the rank for the sake of states, over {@code ranks}. */
    long statesSent(int ranks) {
        return allReduceSent(ranks) + reduceScatterSent(ranks) + allGatherSent(ranks);
    }
}
