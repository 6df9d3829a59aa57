package ulysses.runtime.config;

import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Turns the text of a value into what its key wants. The key decides, not YAML 1.1: {@code 1e-4} is a number, and {@code no} is
 * a word where a word is wanted.
 */
final class ScalarText {
    private static final Set<String> YES = Set.of("true", "yes", "on", "y", "t", "1");
    private static final Set<String> NO = Set.of("false", "no", "off", "n", "f", "0");
    private static final Pattern NUMBER = Pattern.compile("[+-]?([0-9][0-9_]*\\.?[0-9_]*|\\.[0-9]+)([eE][+-]?[0-9]+)?");
    /** A leading zero would be octal in YAML 1.1 and decimal elsewhere, so it is no integer here. */
    private static final Pattern INTEGER = Pattern.compile("[+-]?(0|[1-9][0-9_]*)(\\.0*)?");

    private ScalarText() {}

    /** A truth value as Hugging Face's argument parser and YAML 1.1 take it. */
    static Optional<Boolean> flag(String text) {
        String word = text.strip().toLowerCase(Locale.ROOT);
        if (YES.contains(word)) {
            return Optional.of(true);
        }
        return NO.contains(word) ? Optional.of(false) : Optional.empty();
    }

    /** A finite decimal number. */
    static Optional<Double> number(String text) {
        String digits = text.strip();
        if (!NUMBER.matcher(digits).matches()) {
            return Optional.empty();
        }
        double value = Double.parseDouble(digits.replace("_", ""));
        return Double.isFinite(value) ? Optional.of(value) : Optional.empty();
    }

    /** A whole number that fits an int; {@code 500.0} is one. */
    static Optional<Integer> integer(String text) {
        String digits = text.strip();
        if (!INTEGER.matcher(digits).matches()) {
            return Optional.empty();
        }
        double value = Double.parseDouble(digits.replace("_", ""));
        return Math.abs(value) <= Integer.MAX_VALUE ? Optional.of((int) value) : Optional.empty();
    }

    /** A choice in the key's spelling; {@code false} and {@code off} mean {@code no}, which YAML 1.1 makes of it. */
    static Optional<String> choice(String text, Iterable<String> choices) {
        String word = text.strip();
        for (String choice : choices) {
            boolean turnedOff = choice.equals("no") && flag(word).equals(Optional.of(false));
            if (choice.equalsIgnoreCase(word) || turnedOff) {
                return Optional.of(choice);
            }
        }
        return Optional.empty();
    }
}
