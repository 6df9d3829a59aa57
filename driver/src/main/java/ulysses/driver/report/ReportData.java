package ulysses.driver.report;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import ulysses.driver.packing.PrepareReport;

/**
 * The data of a run: what preparing made of it, and some rows as text.
 *
 * @param prepared its report, where there is one
 * @param examples documents of some prepared rows
 */
record ReportData(Optional<PrepareReport> prepared, List<List<RowText.Document>> examples) {

    String html() {
        return counts() + exampleTexts();
    }

    private String counts() {
        return prepared.map(report -> {
                    StringBuilder parts = new StringBuilder(part("Training", report.train()));
                    report.eval().forEach((name, set) -> parts.append(part("Evaluation: " + Html.escape(name), set)));
                    return "<div class=\"parts\">%s</div>%n".formatted(parts);
                })
                .orElse("<p>No report of prepared data: another program made the rows, or they were deleted.</p>\n");
    }

    private static String part(String name, PrepareReport.Part part) {
        Map<String, String> rows = new LinkedHashMap<>();
        rows.put("rows read", "%,d".formatted(part.rowsRead()));
        rows.put("rows kept", "%,d".formatted(part.rowsKept()));
        part.dropped()
                .forEach((reason, dropped) ->
                        rows.put("dropped: " + reason, "%,d%s".formatted(dropped.count(), named(dropped))));
        rows.put("truncated", "%,d%s".formatted(part.truncated().count(), named(part.truncated())));
        rows.put("tokens lost to truncation", "%,d".formatted(part.truncatedTokens()));
        if (part.leftOutTokens() > 0) {
            rows.put("tokens left out by the packing", "%,d".formatted(part.leftOutTokens()));
        }
        rows.put("packed rows", "%,d of up to %,d tokens".formatted(part.packedRows(), part.cutoffLength()));
        rows.put("documents", "%,d".formatted(part.documents()));
        rows.put("tokens", "%,d".formatted(part.tokens()));
        rows.put(
                "trained tokens",
                "%,d (%.1f %%)"
                        .formatted(part.trainedTokens(), 100.0 * part.trainedTokens() / Math.max(1, part.tokens())));
        rows.put("fill", "%.2f %%".formatted(100 * part.fill()));
        part.packedRowsOtherwise()
                .forEach((packing, count) ->
                        rows.put("rows with packing " + packing.toLowerCase(Locale.ROOT), "%,d".formatted(count)));
        return "<div><h3>%s, packing %s</h3>%s</div>"
                .formatted(name, Html.escape(part.packing().toLowerCase(Locale.ROOT)), Html.table(rows));
    }

    private static String named(PrepareReport.Rows rows) {
        return rows.first().stream()
                .limit(3)
                .map(row -> "%s row %d".formatted(row.dataset(), row.row()))
                .reduce((left, right) -> left + ", " + right)
                .map(names -> " (%s%s)".formatted(names, rows.count() > 3 ? ", …" : ""))
                .orElse("");
    }

    private String exampleTexts() {
        if (examples.isEmpty()) {
            return "";
        }
        StringBuilder text = new StringBuilder("<h3>Examples</h3><p><mark>Marked</mark> tokens are trained on.</p>\n");
        for (int row = 0; row < examples.size(); row++) {
            for (RowText.Document document : examples.get(row)) {
                text.append("<div class=\"example\"><p class=\"sub\">row %d: %,d tokens, %,d trained</p><pre>"
                        .formatted(row, document.tokens(), document.trained()));
                document.parts()
                        .forEach(part -> text.append(
                                part.trained()
                                        ? "<mark>" + Html.escape(part.text()) + "</mark>"
                                        : Html.escape(part.text())));
                if (document.partsLeft() > 0) {
                    text.append("\n[… %d more turns …]".formatted(document.partsLeft()));
                }
                text.append("</pre></div>\n");
            }
        }
        return text.toString();
    }
}
