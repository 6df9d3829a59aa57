package ulysses.runtime.config;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import ulysses.runtime.config.TrainingConfig.Attention;

/** Reads the keys that say which keys a query sees, and checks that they agree. */
final class AttentionSettings {
    private static final String WINDOW = "attention_window";
    private static final String SINKS = "attention_sinks";
    private static final String BLOCKS = "attention_block_pattern";
    private static final String BLOCK_SIZE = "attention_block_size";

    /** Nine digits always fit an int. */
    private static final Pattern LOCAL_AND_GLOBAL = Pattern.compile("([0-9]{1,9})\\s*\\+\\s*([0-9]{1,9})");

    private final Settings settings;

    AttentionSettings(Settings settings) {
        this.settings = settings;
    }

    Attention config() {
        List<AttentionPattern> blocks = new ArrayList<>();
        settings.list(BLOCKS)
                .forEach(pair ->
                        blocks.add(pattern(pair, settings.integer(BLOCK_SIZE)).orElseThrow()));
        return new Attention(settings.optionalInteger(WINDOW).orElse(0), settings.integer(SINKS), blocks);
    }

    void check(List<String> problems) {
        if (!settings.sound(WINDOW, SINKS, BLOCKS, BLOCK_SIZE)) {
            return;
        }
        for (String pair : settings.list(BLOCKS)) {
            if (pattern(pair, settings.integer(BLOCK_SIZE)).isEmpty()) {
                problems.add(settings.problem(
                        BLOCKS,
                        "holds '%s'; write local+global blocks, at least 1+0 and at most 2147483647 tokens, such as 8+1"
                                .formatted(pair)));
            }
        }
        if (settings.list(BLOCKS).isEmpty()) {
            if (settings.isGiven(BLOCK_SIZE)) {
                problems.add(
                        settings.problem(BLOCK_SIZE, "says nothing without attention_block_pattern; set that too"));
            }
            return;
        }
        for (String other : List.of(WINDOW, SINKS)) {
            if (settings.isGiven(other) && settings.integer(other) > 0) {
                problems.add(settings.problem(
                        other,
                        "contradicts attention_block_pattern, which says all that a query sees; keep one of them"));
            }
        }
    }

    /** {@code local+global} blocks of {@code blockTokens}; empty where it is none. */
    private static Optional<AttentionPattern> pattern(String pair, int blockTokens) {
        Matcher words = LOCAL_AND_GLOBAL.matcher(pair);
        if (!words.matches()) {
            return Optional.empty();
        }
        int local = Integer.parseInt(words.group(1));
        long global = Long.parseLong(words.group(2)) * blockTokens;
        long seen = (long) local * blockTokens + global;
        return local < 1 || seen > Integer.MAX_VALUE
                ? Optional.empty()
                : Optional.of(new AttentionPattern(blockTokens, local, (int) global));
    }
}
