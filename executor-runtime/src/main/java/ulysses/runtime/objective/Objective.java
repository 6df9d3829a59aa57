package ulysses.runtime.objective;

import org.bytedeco.pytorch.Tensor;

/** What is minimised: hidden states and labels to loss and gradient of the hidden states. */
public sealed interface Objective permits NextToken {

    /**
     * Loss of this rank's part of a micro-batch and its gradient.
     *
     * @param lossSum sum over this rank's trained tokens, not divided
     * @param dHidden gradient of the divided loss with respect to the hidden states [s,D]; belongs to the caller's scope
     */
    record Outcome(double lossSum, Tensor dHidden) {}

    /**
     * Forward and backward of the loss. Parameter gradients of the head are accumulated.
     *
     * @param hidden hidden states after the final norm [s,D]
     * @param targets what each token predicts [s], or {@code IGNORE_INDEX}; shifted before the sequence was cut
     * @param trainedTokens all targets that count in the optimizer step: over the sequence-parallel group, all data-parallel
     *     groups and all micro-batches (numerics.md, rule 6)
     */
    Outcome lossAndGradient(Tensor hidden, int[] targets, long trainedTokens);

    /** Sum of the loss over this rank's trained tokens, without gradients. */
    double lossSum(Tensor hidden, int[] targets);
}
