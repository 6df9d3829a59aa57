package ulysses.driver.plan;

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
        long perMicroBatch = shape.isSplit() ? shape.model().layers() * layer(shape) : 0;
        long gradients = shape.mesh().ranks() > 1 ? 4 * shape.trained() : 0;
        return new StepCommunication(shape.batch().accumulation() * perMicroBatch, gradients);
    }

    /**
     * Forward moves q, k, v and the output; backward q, k, v again, the output again where it is recomputed, then the gradients of the
     * output and of q, k, v (numerics.md, section 2).
     */
    private static long layer(RunShape shape) {
        HeadShare heads = shape.heads();
        long perHead = shape.part() * shape.model().headSize() * shape.elementBytes();
        long queryKeyValue = perHead * heads.packed();
        long output = perHead * heads.queries() * shape.mesh().group();
        long outputGradient = perHead * shape.model().heads();
        long gradients =
                perHead * (heads.queries() + 2L * heads.kvs()) * shape.mesh().group();
        long outputs = shape.checkpointing() ? 2 * output : output;
        return 2 * queryKeyValue + outputs + outputGradient + gradients;
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
