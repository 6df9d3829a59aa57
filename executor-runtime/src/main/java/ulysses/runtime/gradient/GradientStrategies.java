package ulysses.runtime.gradient;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.zip.CRC32C;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.config.StrategyConfig;
import ulysses.runtime.config.StrategyConfig.Strategy;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Parameter;

/**
 * The strategies of numerics.md section 4, once an optimizer step, after the gradients are summed over all ranks and before they are
 * clipped. Statistics are taken once, before the first of them, and all decisions come from these. What happens is a function of
 * gradients, seed and step alone, so every rank and every layout does the same.
 */
public final class GradientStrategies {
    /** Numbers drawn at once; chosen, not tuned. A multiple of 4. */
    private static final int TILE = 1 << 20;

    private final StrategyConfig config;
    private final long seed;

    /** {@code seed} of the run, for the noise. */
    public GradientStrategies(StrategyConfig config, long seed) {
        this.config = config;
        this.seed = seed;
    }

    /**
     * What was done in a step.
     *
     * @param meanAbs mean over tensors of mean |g|, before anything was done
     * @param fired strategies that acted, in order
     * @param rateFactor for the learning rate of this step alone
     * @param noiseToSignal norm of the noise over the norm of the gradients; 0 without noise
     */
    public record Outcome(double meanAbs, List<Strategy> fired, double rateFactor, double noiseToSignal) {
        /** Nothing is on. */
        public static final Outcome NOTHING = new Outcome(0, List.of(), 1, 0);

        public Outcome {
            fired = List.copyOf(fired);
        }

        /** Whether gradients are other than they were. */
        public boolean changesGradients() {
            return fired.stream().anyMatch(strategy -> strategy != Strategy.LR && strategy != Strategy.CLIP);
        }
    }

    /** Whether any strategy is on. */
    public boolean areOn() {
        return !config.strategies().isEmpty();
    }

    /**
     * Changes the gradients of {@code parameters}.
     *
     * @param step optimizer steps done before this one
     * @param norm of all gradients
     */
    public Outcome apply(List<Parameter> parameters, long step, double norm) {
        if (!areOn()) {
            return Outcome.NOTHING;
        }
        GradientStatistics statistics = GradientStatistics.of(parameters);
        List<Strategy> fired = new ArrayList<>();
        for (Strategy strategy : config.strategies()) {
            if (acts(strategy, parameters, statistics, step)) {
                fired.add(strategy);
            }
        }
        long elements = parameters.stream().mapToLong(p -> p.gradient().numel()).sum();
        return new Outcome(
                statistics.meanAbs(),
                fired,
                fired.contains(Strategy.LR) ? config.rateFactor() : 1,
                fired.contains(Strategy.NOISE) ? config.noise() * Math.sqrt((double) elements) / norm : 0);
    }

    /** The norm that clipping leaves: {@code limit}, where 0 is none, or less when gradients exploded. */
    public double limit(Outcome outcome, double limit) {
        if (!outcome.fired().contains(Strategy.CLIP)) {
            return limit;
        }
        return limit > 0 ? Math.min(limit, config.clipNorm()) : config.clipNorm();
    }

    private boolean acts(Strategy strategy, List<Parameter> parameters, GradientStatistics statistics, long step) {
        boolean vanishing = statistics.meanAbs() < config.vanishingBelow();
        return switch (strategy) {
            case NOISE -> vanishing && addNoise(parameters, step);
            case SCALE -> vanishing && scaleSmall(parameters, statistics);
            case LR -> vanishing;
            case CENTRALIZE -> centralize(parameters);
            case CLIP -> statistics.meanAbs() > config.explodingAbove();
        };
    }

    private boolean addNoise(List<Parameter> parameters, long step) {
        for (Parameter parameter : parameters) {
            CRC32C name = new CRC32C();
            name.update(parameter.name().getBytes(StandardCharsets.UTF_8));
            long elements = parameter.gradient().numel();
            for (long first = 0; first < elements; first += TILE) {
                float[] noise = new float[(int) Math.min(TILE, elements - first)];
                Philox.normals(seed, (int) step, (int) name.getValue(), first, noise);
                try (TensorScope scope = TensorScope.open()) {
                    parameter
                            .gradient()
                            .view(elements)
                            .narrow(0, first, noise.length)
                            .add_(
                                    torch.tensor(noise).to(parameter.gradient().device(), torch.ScalarType.Float),
                                    new Scalar(config.noise()));
                }
            }
        }
        return true;
    }

    private boolean scaleSmall(List<Parameter> parameters, GradientStatistics statistics) {
        List<Parameter> small = parameters.stream()
                .filter(p -> statistics.byTensor().getOrDefault(p.name(), 0.0) < config.smallBelow())
                .toList();
        for (Parameter parameter : small) {
            try (TensorScope scope = TensorScope.open()) {
                parameter.gradient().mul_(new Scalar(config.smallFactor()));
            }
        }
        return !small.isEmpty();
    }

    /** Yong and others, "Gradient centralization" (arXiv:2004.01461): the mean over all dimensions but the first goes. */
    private boolean centralize(List<Parameter> parameters) {
        boolean any = false;
        for (Parameter parameter : parameters) {
            if (parameter.gradient().dim() > 1 && (config.centralizesAll() || isPlainMatrix(parameter.name()))) {
                try (TensorScope scope = TensorScope.open()) {
                    Tensor rows = parameter.gradient().view(parameter.gradient().size(0), -1);
                    rows.sub_(rows.mean(new long[] {1}, true, new ScalarTypeOptional()));
                }
                any = true;
            }
        }
        return any;
    }

    private static boolean isPlainMatrix(String name) {
        return !name.contains("embed_tokens") && !name.contains("lm_head") && !name.contains("lora_");
    }
}
