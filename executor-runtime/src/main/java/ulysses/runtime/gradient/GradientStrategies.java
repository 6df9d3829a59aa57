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
 * gradients, seed and step alone, so every rank and every layout does the same, also where each rank has slices of them.
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
     * Changes {@code gradients}. Collective where these are cut over ranks.
     *
     * @param step optimizer steps done before this one
     * @param norm of all gradients
     */
    public Outcome apply(GradientSlices gradients, long step, double norm) {
        if (!areOn()) {
            return Outcome.NOTHING;
        }
        GradientStatistics statistics = GradientStatistics.of(gradients);
        List<Strategy> fired = new ArrayList<>();
        for (Strategy strategy : config.strategies()) {
            if (acts(strategy, gradients, statistics, step)) {
                fired.add(strategy);
            }
        }
        long elements = gradients.parameters().stream()
                .mapToLong(parameter -> parameter.value().numel())
                .sum();
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

    private boolean acts(Strategy strategy, GradientSlices gradients, GradientStatistics statistics, long step) {
        boolean vanishing = statistics.meanAbs() < config.vanishingBelow();
        return switch (strategy) {
            case NOISE -> vanishing && addNoise(gradients, step);
            case SCALE -> vanishing && scaleSmall(gradients, statistics);
            case LR -> vanishing;
            case CENTRALIZE -> centralize(gradients);
            case CLIP -> statistics.meanAbs() > config.explodingAbove();
        };
    }

    private boolean addNoise(GradientSlices gradients, long step) {
        for (GradientSlices.Slice slice : gradients.slices()) {
            CRC32C name = new CRC32C();
            name.update(slice.parameter().name().getBytes(StandardCharsets.UTF_8));
            long end = slice.first() + slice.elements();
            for (long first = slice.first(); first < end; first += TILE - first % TILE) {
                int count = (int) Math.min(TILE - first % TILE, end - first);
                int before = (int) (first % Philox.WORDS);
                float[] noise = new float[before + count];
                Philox.normals(seed, (int) step, (int) name.getValue(), first - before, noise);
                try (TensorScope scope = TensorScope.open()) {
                    Tensor values = slice.values().narrow(0, first - slice.first(), count);
                    Tensor drawn = torch.tensor(noise).narrow(0, before, count);
                    values.add_(drawn.to(values.device(), torch.ScalarType.Float), new Scalar(config.noise()));
                }
            }
        }
        return true;
    }

    private boolean scaleSmall(GradientSlices gradients, GradientStatistics statistics) {
        List<Parameter> small = gradients.parameters().stream()
                .filter(p -> statistics.byTensor().getOrDefault(p.name(), 0.0) < config.smallBelow())
                .toList();
        for (Parameter parameter : small) {
            for (GradientSlices.Slice slice : gradients.of(parameter)) {
                try (TensorScope scope = TensorScope.open()) {
                    slice.values().mul_(new Scalar(config.smallFactor()));
                }
            }
        }
        return !small.isEmpty();
    }

    /** Yong and others, "Gradient centralization" (arXiv:2004.01461): the mean over all dimensions but the first goes. */
    private boolean centralize(GradientSlices gradients) {
        boolean any = false;
        for (Parameter parameter : gradients.parameters()) {
            if (parameter.value().dim() > 1 && (config.centralizesAll() || isPlainMatrix(parameter.name()))) {
                if (gradients.areCut()) {
                    centralizeSlices(gradients, parameter);
                } else {
                    centralize(parameter);
                }
                any = true;
            }
        }
        return any;
    }

    private static void centralize(Parameter parameter) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor rows = parameter.gradient().view(parameter.gradient().size(0), -1);
            rows.sub_(rows.mean(new long[] {1}, true, new ScalarTypeOptional()));
        }
    }

    private static void centralizeSlices(GradientSlices gradients, Parameter parameter) {
        double[] sums = new double[Math.toIntExact(parameter.value().size(0))];
        gradients.of(parameter).forEach(slice -> slice.addRowSums(sums));
        double[] all = gradients.sum(sums);
        gradients.of(parameter).forEach(slice -> slice.subtractRowMeans(all));
    }

    private static boolean isPlainMatrix(String name) {
        return !name.contains("embed_tokens") && !name.contains("lm_head") && !name.contains("lora_");
    }
}
