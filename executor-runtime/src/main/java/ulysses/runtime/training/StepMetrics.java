package ulysses.runtime.training;

import java.util.List;
import java.util.Map;
import ulysses.runtime.gradient.GradientStrategies;

/**
 * What one optimizer step gave; the same on all ranks but for the times.
 *
 * @param loss mean over the terms of all ranks and micro-batches: trained tokens, or pairs
 * @param metrics what is measured beside the loss, by its name in logs; means over the same terms
 * @param terms how many they are
 * @param gradNorm before gradient strategies and clipping
 * @param learningRate the one used
 * @param tokens of all data-parallel groups, padding left out
 * @param trainedTokens of all data-parallel groups
 * @param updated false when loss or gradient were not finite: the step is skipped on all ranks alike
 * @param suspects micro-batches whose own loss was not finite, where the step was skipped; none when only gradients were not
 * @param computeSeconds forward and backward of all micro-batches
 * @param reduceSeconds summing gradients over ranks
 * @param optimizerSeconds norm, clipping and update
 * @param phases seconds of the parts of compute, by their names
 * @param waitShare of the time until gradients are summed, how much ranks waited for slower ones, all ranks together
 * @param operations floating-point operations that the step needs, all ranks together
 * @param exchangeBytes that this rank put into all-to-alls, its own part included
 * @param strategies what gradient strategies did
 */
public record StepMetrics(
        double loss,
        Map<String, Double> metrics,
        long terms,
        double gradNorm,
        double learningRate,
        long tokens,
        long trainedTokens,
        boolean updated,
        List<Suspect> suspects,
        double computeSeconds,
        double reduceSeconds,
        double optimizerSeconds,
        Map<String, Double> phases,
        double waitShare,
        double operations,
        long exchangeBytes,
        GradientStrategies.Outcome strategies) {

    /** The {@code microBatch}-th of world rank {@code rank} in this step. */
    public record Suspect(int rank, int microBatch) {}

    public StepMetrics {
        suspects = List.copyOf(suspects);
        phases = Map.copyOf(phases);
    }

    /** Time of the whole step. */
    public double seconds() {
        return computeSeconds + reduceSeconds + optimizerSeconds;
    }
}
