package ulysses.runtime.training;

import org.bytedeco.pytorch.Tensor;
import ulysses.runtime.attention.SequenceLayout;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.CausalLm;
import ulysses.runtime.objective.Objective;
import ulysses.runtime.segment.Segment;

/**
 * One micro-batch through model and objective on this rank: it takes its part of the sequence and works on it together with the
 * ranks of its group. Collective: all ranks of the group call the same method with the same micro-batch.
 */
public final class SequenceStep {

    private final CausalLm model;
    private final Objective objective;
    private final Collectives group;

    /** {@code group} shares each sequence. */
    public SequenceStep(CausalLm model, Objective objective, Collectives group) {
        this.model = model;
        this.objective = objective;
        this.group = group;
    }

    /**
     * Forward and backward; gradients are added to those of earlier micro-batches.
     *
     * @param trainedTokens of the whole optimizer step, over all ranks: what the loss is divided by
     * @return sum of the loss over this rank's trained tokens
     */
    public double forwardBackward(MicroBatch batch, long trainedTokens) {
        MicroBatch.Slice slice = batch.slice(group.rank(), group.size());
        try (TensorScope scope = TensorScope.open()) {
            Segment layers =
                    model.training(new SequenceLayout(batch.documentEnds()), slice.positions(), slice.numbers());
            Tensor hidden = model.embed(slice.ids()); // [s,D]
            try (Segment.Pass pass = layers.forward(hidden)) {
                Objective.Outcome outcome =
                        objective.lossAndGradient(pass.output(), slice.targets(), Math.max(1, trainedTokens));
                model.embedBackward(slice.ids(), pass.backward(outcome.dHidden()));
                return outcome.lossSum();
            }
        }
    }

    /** Forward only: the sum of the loss over this rank's trained tokens. */
    public double loss(MicroBatch batch) {
        MicroBatch.Slice slice = batch.slice(group.rank(), group.size());
        try (TensorScope scope = TensorScope.open()) {
            Segment layers = model.on(new SequenceLayout(batch.documentEnds()), slice.positions());
            Tensor hidden = layers.infer(model.embed(slice.ids())); // [s,D]
            return objective.lossSum(hidden, slice.targets());
        }
    }

    /** Bytes that this rank has put into all-to-alls so far, its own part included. */
    long exchangedBytes() {
        return group.traffic().total(Collectives.Operation.ALL_TO_ALL);
    }
}
