package ulysses.runtime.gradient;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Parameter;

/**
 * How large gradients are, in float64. Taken once a step, from gradients that are summed over all ranks and so are the same on each:
 * every rank decides alike.
 *
 * @param meanAbs mean over tensors, unweighted, of mean |g|
 * @param byTensor mean |g| of each tensor by name
 */
public record GradientStatistics(double meanAbs, Map<String, Double> byTensor) {

    /** Those of {@code parameters}, which are trained. */
    public static GradientStatistics of(List<Parameter> parameters) {
        Map<String, Double> means = new LinkedHashMap<>();
        double sum = 0;
        for (Parameter parameter : parameters) {
            try (TensorScope scope = TensorScope.open()) {
                double absolute = parameter
                        .gradient()
                        .norm(new ScalarOptional(new Scalar(1.0)), torch.ScalarType.Double)
                        .item_double();
                double mean = absolute / parameter.gradient().numel();
                means.put(parameter.name(), mean);
                sum += mean;
            }
        }
        return new GradientStatistics(sum / Math.max(1, parameters.size()), means);
    }
}
