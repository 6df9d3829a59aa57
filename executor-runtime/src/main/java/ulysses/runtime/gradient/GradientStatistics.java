package ulysses.runtime.gradient;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import ulysses.runtime.segment.Parameter;

/**
 * How large gradients are, in float64. Taken once a step, from gradients that are summed over all ranks, and the same on each: every
 * rank decides alike.
 *
 * @param meanAbs mean over tensors, unweighted, of mean |g|
 * @param byTensor mean |g| of each tensor by name
 */
public record GradientStatistics(double meanAbs, Map<String, Double> byTensor) {

    /** Those of {@code gradients}. Collective where these are cut over ranks. */
    static GradientStatistics of(GradientSlices gradients) {
        List<Parameter> parameters = gradients.parameters();
        double[] absolute = new double[parameters.size()];
        for (int i = 0; i < absolute.length; i++) {
            for (GradientSlices.Slice slice : gradients.of(parameters.get(i))) {
                absolute[i] += WideSum.ofAbsolutes(slice.values());
            }
        }
        double[] all = gradients.sum(absolute);
        Map<String, Double> means = new LinkedHashMap<>();
        double sum = 0;
        for (int i = 0; i < all.length; i++) {
            double mean = all[i] / parameters.get(i).value().numel();
            means.put(parameters.get(i).name(), mean);
            sum += mean;
        }
        return new GradientStatistics(sum / Math.max(1, all.length), means);
    }
}
