package ulysses.driver.report;

import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.ToDoubleFunction;
import ulysses.driver.launch.ConsoleProgress;
import ulysses.driver.packing.PrepareReport;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.Folder;

/** {@code report.html}: a run on one page that needs nothing else: no script, no font, no other file. */
final class ReportPage {
    static final String FILE = "report.html";

    private static final double GIB = 1L << 30;
    private static final int EVENTS = 200;
    private static final DateTimeFormatter TIME = DateTimeFormatter.ofPattern("yyyy-MM-dd HH:mm:ss 'UTC'", Locale.ROOT)
            .withZone(ZoneOffset.UTC);

    /** Logged numbers that have a chart of their own or are no curve. */
    private static final Set<String> KNOWN = Set.of("loss", "learning_rate", "grad_norm", "epoch", "step", "eval_loss");

    private final RunRecord run;
    private final List<List<RowText.Document>> examples;
    private final String path;
    private final List<Folder.Entry> files;
    private final StringBuilder html = new StringBuilder();

    private ReportPage(RunRecord run, List<List<RowText.Document>> examples, String path, List<Folder.Entry> files) {
        this.run = run;
        this.examples = examples;
        this.path = path;
        this.files = files;
    }

    /**
     * The page of a run.
     *
     * @param examples documents of some prepared rows
     * @param output where the run wrote
     */
    static String html(RunRecord run, List<List<RowText.Document>> examples, Folder output) {
        return new ReportPage(run, examples, RunArguments.masked(output.path()), output.list()).page();
    }

    private String page() {
        String name = path.substring(path.lastIndexOf('/') + 1);
        html.append("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
                .append("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">")
                .append("<title>")
                .append(escape(name))
                .append("</title>\n<style>")
                .append(PageStyle.CSS)
                .append("</style></head><body>\n");
        header(name);
        section("Curves", "curves", curves());
        section("What happened", "events", happened());
        section("Data", "data", data() + exampleTexts());
        section("Configuration", "config", configuration());
        section("Outputs", "outputs", outputs());
        return html.append("</body></html>\n").toString();
    }

    private void header(String name) {
        html.append("<header><h1>").append(escape(name)).append("</h1><p class=\"sub\">");
        html.append(escape(path)).append(" · <span class=\"state %s\">%s</span>".formatted(state(), stateWords()));
        run.arguments().ifPresent(told -> html.append(" · begun ").append(escape(told.started())));
        html.append("</p><div class=\"tiles\">");
        tiles().forEach((label, value) ->
                html.append("<div><b>%s</b><span>%s</span></div>".formatted(escape(value), escape(label))));
        html.append("</div></header>\n");
    }

    private String state() {
        return run.ending().name().toLowerCase(Locale.ROOT).replace('_', '-');
    }

    private String stateWords() {
        return switch (run.ending()) {
            case DONE -> "done";
            case FAILED -> "failed";
            case NOT_YET -> run.events().isEmpty() ? "no events recorded" : "not finished";
        };
    }

    private Map<String, String> tiles() {
        Map<String, String> tiles = new LinkedHashMap<>();
        Optional<RankEvent.Step> last = run.events(RankEvent.Step.class).reduce((before, after) -> after);
        last.ifPresent(step -> tiles.put("steps", "%,d / %,d".formatted(steps(step), step.totalSteps())));
        lastOf("loss").ifPresent(loss -> tiles.put("last loss", loss));
        result("train_loss").ifPresent(loss -> tiles.put("mean loss", loss));
        result("eval_loss").or(() -> lastOf("eval_loss")).ifPresent(loss -> tiles.put("evaluation loss", loss));
        lastOf("rewards/accuracies").ifPresent(share -> tiles.put("reward accuracy", share));
        result("num_input_tokens_seen")
                .ifPresent(tokens -> tiles.put("tokens seen", "%,d".formatted((long) Double.parseDouble(tokens))));
        if (!run.lasted().isZero()) {
            tiles.put("time", ConsoleProgress.duration(run.lasted()));
        }
        if (run.attempts() > 1) {
            tiles.put("attempts", String.valueOf(run.attempts()));
        }
        run.arguments()
                .ifPresent(told -> tiles.put(
                        "ranks",
                        told.mesh().worldSize() == 1
                                ? "1"
                                : "%d (groups of %d)"
                                        .formatted(
                                                told.mesh().worldSize(),
                                                told.mesh().sequenceParallelSize())));
        return tiles;
    }

    /** Not every step leaves an event, but the end does. */
    private long steps(RankEvent.Step last) {
        return run.events(RankEvent.Done.class).mapToLong(RankEvent.Done::steps).reduce(last.step(), Math::max);
    }

    private Optional<String> lastOf(String name) {
        Series series = run.series(name);
        return series.isEmpty() ? Optional.empty() : Optional.of(number(series.last()));
    }

    private Optional<String> result(String name) {
        return run.results().has(name)
                ? Optional.of(number(run.results().path(name).asDouble()))
                : Optional.empty();
    }

    private void section(String title, String id, String content) {
        if (!content.isEmpty()) {
            html.append("<section id=\"%s\"><h2>%s</h2>%n%s</section>%n".formatted(id, title, content));
        }
    }

    private String curves() {
        Series loss = run.series("loss");
        List<SvgChart> charts = new ArrayList<>();
        charts.add(new SvgChart(
                "Loss",
                "",
                List.of(
                        new SvgChart.Line("each log", "pale", loss),
                        new SvgChart.Line("smoothed", "first", loss.smoothed()),
                        new SvgChart.Line("evaluation", "second", run.series("eval_loss")))));
        charts.add(plain("Learning rate", "", run.series("learning_rate")));
        charts.add(plain("Gradient norm", "before clipping", run.series("grad_norm")));
        charts.add(measured("Throughput", "tokens / s", step -> step.tokens() / step.seconds()));
        charts.add(measured("Memory of rank 0", "GiB, largest so far", step -> step.peakBytes() / GIB));
        run.names().stream()
                .filter(name -> !KNOWN.contains(name) && !name.matches("(eval_.*|train_).*(runtime|per_second)"))
                .filter(name -> run.series(name).points().size() > 1)
                .forEach(name -> charts.add(plain(name, "", run.series(name))));
        StringBuilder figures = new StringBuilder();
        charts.forEach(chart -> figures.append(chart.html()));
        return figures.isEmpty() ? "" : "<div class=\"charts\">%n%s</div>".formatted(figures);
    }

    private static SvgChart plain(String title, String unit, Series series) {
        return new SvgChart(title, unit, List.of(new SvgChart.Line(series.name(), "first", series)));
    }

    private SvgChart measured(String title, String unit, ToDoubleFunction<RankEvent.Step> value) {
        return plain(title, unit, run.measured(unit, value));
    }

    private String happened() {
        List<String> rows = new ArrayList<>();
        int attempt = 0;
        for (TimedEvent timed : run.events()) {
            RankEvent event = timed.event();
            if (event instanceof RankEvent.Phase phase && phase.phase().equals("load")) {
                attempt++;
            }
            words(event, attempt)
                    .ifPresent(words -> rows.add("<tr class=\"%s\"><td>%s</td><td>%s</td></tr>"
                            .formatted(kind(event), TIME.format(timed.time()), words)));
        }
        if (rows.isEmpty()) {
            return "";
        }
        int left = rows.size() - EVENTS;
        if (left > 0) {
            rows.subList(EVENTS / 2, EVENTS / 2 + left).clear();
            rows.add(EVENTS / 2, "<tr><td></td><td>… %d more …</td></tr>".formatted(left));
        }
        long warnings = run.events(RankEvent.Warning.class).count();
        return "<p>%s</p><table class=\"log\">%s</table>%n"
                .formatted(
                        warnings == 0 ? "No warnings." : "%d warning(s).".formatted(warnings), String.join("\n", rows));
    }

    private static String kind(RankEvent event) {
        if (event instanceof RankEvent.Failed) {
            return "bad";
        }
        return event instanceof RankEvent.Warning ? "warn" : "plain";
    }

    private static Optional<String> words(RankEvent event, int attempt) {
        if (event instanceof RankEvent.Phase phase && phase.phase().equals("load")) {
            return Optional.of("attempt %d begins".formatted(attempt));
        } else if (event instanceof RankEvent.Warning warning) {
            return Optional.of("warning of rank %d: %s".formatted(warning.rank(), escape(warning.message())));
        } else if (event instanceof RankEvent.Failed failed) {
            String who = failed.rank() == RunRecord.DRIVER ? "the run" : "rank " + failed.rank();
            return Optional.of("%s failed at step %d (%s): %s"
                    .formatted(who, failed.step(), escape(failed.kind()), escape(failed.message())));
        } else if (event instanceof RankEvent.Evaluated evaluated) {
            return Optional.of("evaluation after step %d: %s_loss %s"
                    .formatted(evaluated.step(), escape(evaluated.set()), number(evaluated.loss())));
        } else if (event instanceof RankEvent.Saved saved) {
            return Optional.of("checkpoint of step %d: %s".formatted(saved.step(), escape(saved.path())));
        } else if (event instanceof RankEvent.Done done && done.rank() == 0) {
            return Optional.of("done after %d steps".formatted(done.steps()));
        }
        return Optional.empty();
    }

    private String data() {
        return run.prepared()
                .map(report -> {
                    StringBuilder parts = new StringBuilder(part("Training", report.train()));
                    report.eval().forEach((name, set) -> parts.append(part("Evaluation: " + escape(name), set)));
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
                .formatted(name, escape(part.packing().toLowerCase(Locale.ROOT)), table(rows));
    }

    private static String named(PrepareReport.Rows rows) {
        return rows.first().stream()
                .limit(3)
                .map(row -> "%s row %d".formatted(row.dataset(), row.row()))
                .reduce((left, right) -> left + ", " + right)
                .map(names -> " (%s%s)".formatted(names, rows.count() > 3 ? ", …" : ""))
                .orElse("");
    }

    private static String table(Map<String, String> rows) {
        StringBuilder table = new StringBuilder("<table>");
        rows.forEach((key, value) ->
                table.append("<tr><th>%s</th><td>%s</td></tr>%n".formatted(escape(key), escape(value))));
        return table.append("</table>\n").toString();
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
                                part.trained() ? "<mark>" + escape(part.text()) + "</mark>" : escape(part.text())));
                if (document.partsLeft() > 0) {
                    text.append("\n[… %d more turns …]".formatted(document.partsLeft()));
                }
                text.append("</pre></div>\n");
            }
        }
        return text.toString();
    }

    private String configuration() {
        if (run.arguments().isEmpty()) {
            return "";
        }
        RunArguments told = run.arguments().get();
        StringBuilder text = new StringBuilder();
        told.notes()
                .forEach(note ->
                        text.append("<p class=\"note\">").append(escape(note)).append("</p>\n"));
        text.append("<table><tr><th>key</th><th>value</th><th>here</th></tr>\n");
        for (ConfigFile.KeyReport key : told.given()) {
            text.append("<tr><td><code>%s</code></td><td><code>%s</code></td><td class=\"%s\">%s</td></tr>%n"
                    .formatted(
                            escape(key.key()),
                            escape(key.value()),
                            key.verdict().name().toLowerCase(Locale.ROOT),
                            escape(
                                    key.verdict() == ConfigFile.Verdict.SUPPORTED
                                            ? key.says()
                                            : "%s: %s"
                                                    .formatted(
                                                            key.verdict().name().toLowerCase(Locale.ROOT),
                                                            key.says()))));
        }
        text.append("</table>\n<details><summary>everything, defaults included</summary><pre>")
                .append(escape(told.config().toPrettyString()))
                .append("</pre></details>\n<h3>Built from</h3>");
        return text.append(table(Versions.all())).toString();
    }

    private String outputs() {
        StringBuilder table = new StringBuilder("<table><tr><th>file</th><th>size</th><th>what it is</th></tr>\n");
        for (Folder.Entry file : files) {
            if (!file.name().equals(FILE)) {
                table.append("<tr><td>%s%s</td><td class=\"right\">%s</td><td>%s</td></tr>%n"
                        .formatted(
                                escape(file.name()),
                                file.isFolder() ? "/" : "",
                                file.isFolder() ? "" : size(file.length()),
                                OutputFiles.meaning(file.name())));
            }
        }
        return table.append("</table>\n").toString();
    }

    private static String size(long bytes) {
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
