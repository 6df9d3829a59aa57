package ulysses.runtime.objective;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.StepBatches;

/**
 * What is minimised: hidden states and labels to loss and gradient of the hidden states. Collective: all ranks of a sequence-parallel
 * group call the same method with their parts of the same micro-batch.
 */
public sealed interface Objective permits NextToken, Preference {

    /**
     * This rank's part of a micro-batch, at the end of the model.
     *
     * @param batch the whole micro-batch
     * @param slice this rank's part of it
     * @param reference what {@link #reference} gave for the micro-batch
     * @param hidden hidden states after the final norm [s,D]
     */
    @SuppressWarnings("ArrayRecordComponent") // a carrier, never compared
    record Part(MicroBatch batch, MicroBatch.Slice slice, double[] reference, Tensor hidden) {}

    /**
     * Sums that add up over ranks, micro-batches and steps; the ranks of a group share what they computed together.
     *
     * @param loss sum of the loss, not divided
     * @param metrics sums of {@link #metrics()}, in their order
     */
    @SuppressWarnings("ArrayRecordComponent") // a carrier, never compared
    record Sums(double loss, double[] metrics) {

        /** The sums of both. */
        public Sums plus(Sums other) {
            double[] both = metrics.clone();
            Arrays.setAll(both, i -> metrics[i] + other.metrics[i]);
            return new Sums(loss + other.loss, both);
        }
    }

    /**
     * What backward begins with.
     *
     * @param sums of this rank
     * @param dHidden gradient of the divided loss with respect to the hidden states [s,D]; belongs to the caller's scope
     */
    record Outcome(Sums sums, Tensor dHidden) {}

    /** What is measured beside the loss, as it is called in logs. */
    List<String> metrics();

    /** Terms that loss and metrics of a step are the mean of, over all ranks and micro-batches. */
    long terms(StepBatches step);

    /** What has to be known before the model runs forward on {@code batch}; empty if nothing. */
    double[] reference(MicroBatch batch);

    /**
     * Forward and backward of the loss. Parameter gradients of the head are accumulated.
     *
     * @param terms of the optimizer step (numerics.md, rules 6 and 9); at least 1
     */
    Outcome lossAndGradient(Part part, long terms);

    /** The sums alone, without gradients. */
    Sums sums(Part part);

    /** Whether an adapter's dropout is on in training. */
    default boolean allowsDropout() {
        return true;
    }

    /** Zero for everything. */
    default Sums nothing() {
        return new Sums(0, new double[metrics().size()]);
    }
}
