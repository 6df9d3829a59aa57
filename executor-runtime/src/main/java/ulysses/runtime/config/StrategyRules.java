package ulysses.runtime.config;

import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;
import ulysses.runtime.config.StrategyConfig.Strategy;

/** {@code gradient_strategies} and its thresholds. */
final class StrategyRules {
    private static final String KEY = "gradient_strategies";
    private static final String NONE = "none";
    private static final String ORIGINAL = "original";

    private final Settings settings;

    StrategyRules(Settings settings) {
        this.settings = settings;
    }

    void check(List<String> problems) {
        if (!settings.sound(KEY)) {
            return;
        }
        List<String> words = words();
        for (String word : words) {
            if (!word.equals(NONE) && !word.equals(ORIGINAL) && strategy(word).isEmpty()) {
                problems.add(
                        settings.problem(KEY, "names %s; use none, original, or some of %s".formatted(word, all())));
            }
        }
        if (words.size() > 1 && (words.contains(NONE) || words.contains(ORIGINAL))) {
            problems.add(settings.problem(KEY, "names none or original among others; keep one of them alone"));
        }
    }

    /** What is on: by the key, else by {@code --debug}. */
    StrategyConfig config(ConfigFile.Sources sources, List<String> notes) {
        boolean given = settings.isGiven(KEY);
        List<String> words = given || !sources.debug() ? words() : List.of(ORIGINAL);
        List<Strategy> strategies = words.contains(ORIGINAL)
                ? List.of(Strategy.values())
                : words.stream()
                        .map(StrategyRules::strategy)
                        .flatMap(Optional::stream)
                        .toList();
        if (!strategies.isEmpty()) {
            notes.add("gradient strategies that are on: %s (%s)"
                    .formatted(
                            strategies.stream().map(StrategyRules::word).collect(Collectors.joining(", ")),
                            given ? KEY : "--debug; gradient_strategies: none turns them off"));
        }
        return new StrategyConfig(
                strategies,
                settings.number("gradient_vanishing_below"),
                settings.number("gradient_exploding_above"),
                settings.number("gradient_noise"),
                settings.number("gradient_small_below"),
                settings.number("gradient_small_factor"),
                settings.number("gradient_lr_factor"),
                settings.number("gradient_clip_norm"),
                settings.flag("gradient_centralize_all"));
    }

    private List<String> words() {
        return settings.list(KEY).stream()
                .map(word -> word.toLowerCase(Locale.ROOT))
                .toList();
    }

    private static Optional<Strategy> strategy(String word) {
        return Arrays.stream(Strategy.values())
                .filter(strategy -> word(strategy).equals(word))
                .findFirst();
    }

    private static String word(Strategy strategy) {
        return strategy.name().toLowerCase(Locale.ROOT);
    }

    private static String all() {
        return Arrays.stream(Strategy.values()).map(StrategyRules::word).collect(Collectors.joining(", "));
    }
}
