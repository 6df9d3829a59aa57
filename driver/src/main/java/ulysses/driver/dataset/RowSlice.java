package ulysses.driver.dataset;

import java.io.Serializable;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Which rows of a file an entry of dataset_info.json takes: {@code "split": "train[10:20]"}, cut as Hugging Face datasets cuts a split.
 * Boundaries are rows or percents (rounded to the nearest row), counted from the end when negative, and may be left out.
 *
 * @param from first row; empty is the first of the file
 * @param to row behind the last; empty is the end of the file
 */
record RowSlice(String from, String to) implements Serializable {
    private static final String BOUNDARY = "-?(?:\\d{1,15}|(?:100|\\d{1,2})%)";
    private static final Pattern FORM = Pattern.compile("train(?:\\[(" + BOUNDARY + ")?:(" + BOUNDARY + ")?\\])?");

    /** What {@code split} says; empty when it is not of this form. */
    static Optional<RowSlice> of(String split) {
        Matcher matcher = FORM.matcher(split.replace(" ", ""));
        return matcher.matches()
                ? Optional.of(new RowSlice(orEmpty(matcher.group(1)), orEmpty(matcher.group(2))))
                : Optional.empty();
    }

    private static String orEmpty(@Nullable String group) {
        return group == null ? "" : group;
    }

    /** The first row of {@code rows} that is taken. */
    long first(long rows) {
        return from.isEmpty() ? 0 : boundary(from, rows);
    }

    /** The row behind the last one that is taken. */
    long end(long rows) {
        return to.isEmpty() ? rows : boundary(to, rows);
    }

    private static long boundary(String text, long rows) {
        boolean percent = text.endsWith("%");
        long number = Long.parseLong(percent ? text.substring(0, text.length() - 1) : text);
        long row = percent ? (long) Math.rint(number * (double) rows / 100) : number;
        return Math.min(row < 0 ? Math.max(rows + row, 0) : row, rows);
    }

    @Override
    public String toString() {
        return "train[%s:%s]".formatted(from, to);
    }
}
