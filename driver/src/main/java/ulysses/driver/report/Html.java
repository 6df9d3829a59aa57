package ulysses.driver.report;

import java.util.Locale;
import java.util.Map;

/** Numbers and text as pages of this package write them. */
final class Html {
    private Html() {}

    /** Two columns, what and how much; values are text that may need {@link #escape}. */
    static String table(Map<String, String> rows) {
        StringBuilder table = new StringBuilder("<table>");
        rows.forEach((key, value) ->
                table.append("<tr><th>%s</th><td>%s</td></tr>%n".formatted(escape(key), escape(value))));
        return table.append("</table>\n").toString();
    }

    /** Bytes in the unit that suits them. */
    static String size(long bytes) {
        if (bytes < 10_000) {
            return "%,d B".formatted(bytes);
        }
        return bytes < 10_000_000
                ? String.format(Locale.ROOT, "%,.0f kB", bytes / 1e3)
                : String.format(Locale.ROOT, "%,.1f MB", bytes / 1e6);
    }

    /** Four significant digits, or all of a whole number. */
    static String number(double value) {
        if (value == Math.rint(value) && Math.abs(value) < 1e15) {
            return "%d".formatted((long) value);
        }
        double size = Math.abs(value);
        return size >= 1e-3 && size < 1e5
                ? String.format(Locale.ROOT, "%.4f", value)
                : String.format(Locale.ROOT, "%.3e", value);
    }

    /** Text that can stand in an element or an attribute. */
    static String escape(String text) {
        return text.replace("&", "&amp;")
                .replace("<", "&lt;")
                .replace(">", "&gt;")
                .replace("\"", "&quot;")
                .replace("'", "&#39;");
    }
}
