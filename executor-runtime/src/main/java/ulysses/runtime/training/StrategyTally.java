package ulysses.runtime.training;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import ulysses.runtime.config.StrategyConfig;
import ulysses.runtime.config.StrategyConfig.Strategy;
import ulysses.runtime.gradient.GradientStrategies;

/** How often gradient strategies acted: what the log says of them every logging step, and the summary at the end. */
final class StrategyTally {
    /** Shares of steps from which on a threshold is above the normal level of gradients; chosen, not tuned. */
    private static final double MOST_STEPS = 0.5;

    private final StrategyConfig config;
    private final Map<Strategy, Long> all = new EnumMap<>(Strategy.class);
    private final Map<Strategy, Long> sinceLog = new EnumMap<>(Strategy.class);
    private GradientStrategies.Outcome last = GradientStrategies.Outcome.NOTHING;
    private double largestMean;
    private double smallestMean = Double.POSITIVE_INFINITY;
    private long steps;
    private long stepsSinceLog;

    StrategyTally(StrategyConfig config) {
        this.config = config;
    }

    /** Counts a step that was done. */
    void count(GradientStrategies.Outcome outcome) {
        last = outcome;
        steps++;
        stepsSinceLog++;
        largestMean = Math.max(largestMean, outcome.meanAbs());
        smallestMean = Math.min(smallestMean, outcome.meanAbs());
        for (Strategy strategy : outcome.fired()) {
            all.merge(strategy, 1L, Long::sum);
            sinceLog.merge(strategy, 1L, Long::sum);
        }
    }

    /** What a log entry says: the newest mean |g|, and for each strategy the share of steps since the last log; empty when all are off. */
    Map<String, Double> logged() {
        Map<String, Double> values = new LinkedHashMap<>();
        if (config.strategies().isEmpty() || stepsSinceLog == 0) {
            return values;
        }
        values.put("grad_mean_abs", last.meanAbs());
        if (config.strategies().contains(Strategy.NOISE)) {
            values.put("noise_to_signal", last.noiseToSignal());
        }
        for (Strategy strategy : config.strategies()) {
            values.put(TrainerLog.FIRED + word(strategy), sinceLog.getOrDefault(strategy, 0L) / (double) stepsSinceLog);
        }
        sinceLog.clear();
        stepsSinceLog = 0;
        return values;
    }

    /** What the user should know at the end; empty when all are off. */
    Optional<String> summary() {
        if (config.strategies().isEmpty() || steps == 0) {
            return Optional.empty();
        }
        List<String> shares = new ArrayList<>();
        for (Strategy strategy : config.strategies()) {
            shares.add(String.format(Locale.ROOT, "%s fired in %.0f %%", word(strategy), 100 * share(strategy)));
        }
        String advice = share(Strategy.NOISE) > MOST_STEPS || share(Strategy.LR) > MOST_STEPS
                ? "; gradient_vanishing_below %s is above their normal level: lower it, or leave these strategies out"
                        .formatted(config.vanishingBelow())
                : "";
        return Optional.of(String.format(
                Locale.ROOT,
                "gradient strategies over %d steps: %s; mean abs(g) was %.2e to %.2e%s",
                steps,
                String.join(", ", shares),
                smallestMean,
                largestMean,
                advice));
    }

    private double share(Strategy strategy) {
        return all.getOrDefault(strategy, 0L) / (double) steps;
    }

    private static String word(Strategy strategy) {
        return strategy.name().toLowerCase(Locale.ROOT);
    }
}
