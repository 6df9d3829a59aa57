package ulysses.runtime.config;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;

/**
 * The values of one run: what the user gave, the last layer winning, and the table's defaults for the rest. Values that had a
 * problem are taken out first, so reading never fails; {@link #sound} tells rules to keep quiet about them.
 */
final class Settings {
    private final KeyTable table = KeyTable.table();
    private final Map<String, Setting> given = new LinkedHashMap<>();
    private final Set<String> broken = new TreeSet<>();
    private final Set<String> read = new TreeSet<>();
    private String datedOutputDir = "";

    /** Adds a value; a later one of the same key wins and keeps the first one's place. */
    void put(Setting setting) {
        given.put(setting.key(), setting);
    }

    /** Remembers {@code output_dir} as it was before a date was put into it. */
    void runsFor(String outputDir) {
        datedOutputDir = outputDir;
    }

    /** {@code output_dir} as it was before a date was put into it. */
    String datedOutputDir() {
        return datedOutputDir;
    }

    /** Takes a value out because it has a problem of its own. */
    void breakKey(String key) {
        given.remove(key);
        broken.add(key);
    }

    /** Whether none of these keys had a problem. */
    boolean sound(String... keys) {
        return Arrays.stream(keys).noneMatch(broken::contains);
    }

    /** Keys that were asked for: a test compares them with the table. */
    Set<String> keysRead() {
        return read;
    }

    /** What the user gave for a key, null included. */
    Optional<Setting> given(String key) {
        read.add(table.get(key).name());
        return Optional.ofNullable(given.get(key));
    }

    /** Whether the user gave a value that is not null. */
    boolean isGiven(String key) {
        return given(key).filter(setting -> !setting.value().isNull()).isPresent();
    }

    Optional<String> text(String key) {
        Optional<Setting> setting = given(key);
        if (setting.isPresent()) {
            JsonNode value = setting.get().value();
            return value.isNull() ? Optional.empty() : Optional.of(value.asText());
        }
        return Optional.ofNullable(table.get(key).fallback());
    }

    String choice(String key) {
        return ScalarText.choice(text(key).orElseThrow(), table.get(key).choices())
                .orElseThrow();
    }

    boolean flag(String key) {
        return optionalFlag(key).orElseThrow();
    }

    Optional<Boolean> optionalFlag(String key) {
        return text(key).flatMap(ScalarText::flag);
    }

    int integer(String key) {
        return optionalInteger(key).orElseThrow();
    }

    Optional<Integer> optionalInteger(String key) {
        return text(key).flatMap(ScalarText::integer);
    }

    double number(String key) {
        return optionalNumber(key).orElseThrow();
    }

    Optional<Double> optionalNumber(String key) {
        return text(key).flatMap(ScalarText::number);
    }

    /** A list, or words with commas between; empty words are dropped. */
    List<String> list(String key) {
        Optional<Setting> setting = given(key);
        List<String> words = new ArrayList<>();
        if (setting.isPresent() && setting.get().value().isArray()) {
            setting.get().value().forEach(element -> words.add(element.asText().strip()));
        } else {
            text(key)
                    .ifPresent(text -> Arrays.stream(text.split(",", -1))
                            .map(String::strip)
                            .filter(word -> !word.isEmpty())
                            .forEach(words::add));
        }
        return List.copyOf(words);
    }

    /** A problem of the value of a key, given or default. */
    String problem(String key, String whatIsWrong) {
        return given(key)
                .map(setting -> setting.problem(whatIsWrong))
                .orElse("%s %s %s (default)".formatted(key, text(key).orElse("null"), whatIsWrong));
    }
}
