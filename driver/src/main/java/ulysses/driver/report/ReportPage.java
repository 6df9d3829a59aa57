package ulysses.driver.report;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.ToDoubleFunction;
import ulysses.driver.launch.ConsoleProgress;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.Folder;

/** {@code report.html}: a run on one page that needs nothing else: no script, no font, no other file. */
final class ReportPage {
    static final String FILE = "report.html";

    private static final double GIB = 1L << 30;
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
                .append(Html.escape(name))
                .append("</title>\n<style>")
                .append(PageStyle.CSS)
                .append("</style></head><body>\n");
        header(name);
        section("Curves", "curves", curves());
        section("What happened", "events", new ReportEvents(run).html());
        section("Data", "data", new ReportData(run.prepared(), examples).html());
        section("Configuration", "config", configuration());
        section("Outputs", "outputs", outputs());
        return html.append("</body></html>\n").toString();
    }

    private void header(String name) {
        html.append("<header><h1>").append(Html.escape(name)).append("</h1><p class=\"sub\">");
        html.append(Html.escape(path)).append(" · <span class=\"state %s\">%s</span>".formatted(state(), stateWords()));
        run.arguments().ifPresent(told -> html.append(" · begun ").append(Html.escape(told.started())));
        html.append("</p><div class=\"tiles\">");
        tiles().forEach((label, value) ->
                html.append("<div><b>%s</b><span>%s</span></div>".formatted(Html.escape(value), Html.escape(label))));
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
        return series.isEmpty() ? Optional.empty() : Optional.of(Html.number(series.last()));
    }

    private Optional<String> result(String name) {
        return run.results().has(name)
                ? Optional.of(Html.number(run.results().path(name).asDouble()))
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

    private String configuration() {
        if (run.arguments().isEmpty()) {
            return "";
        }
        RunArguments told = run.arguments().get();
        StringBuilder text = new StringBuilder();
        told.notes()
                .forEach(note -> text.append("<p class=\"note\">")
                        .append(Html.escape(note))
                        .append("</p>\n"));
        text.append("<table><tr><th>key</th><th>value</th><th>here</th></tr>\n");
        for (ConfigFile.KeyReport key : told.given()) {
            text.append("<tr><td><code>%s</code></td><td><code>%s</code></td><td class=\"%s\">%s</td></tr>%n"
                    .formatted(
                            Html.escape(key.key()),
                            Html.escape(key.value()),
                            key.verdict().name().toLowerCase(Locale.ROOT),
                            Html.escape(
                                    key.verdict() == ConfigFile.Verdict.SUPPORTED
                                            ? key.says()
                                            : "%s: %s"
                                                    .formatted(
                                                            key.verdict().name().toLowerCase(Locale.ROOT),
                                                            key.says()))));
        }
        text.append("</table>\n<details><summary>everything, defaults included</summary><pre>")
                .append(Html.escape(told.config().toPrettyString()))
                .append("</pre></details>\n<h3>Built from</h3>");
        return text.append(Html.table(Versions.all())).toString();
    }

    private String outputs() {
        StringBuilder table = new StringBuilder("<table><tr><th>file</th><th>size</th><th>what it is</th></tr>\n");
        for (Folder.Entry file : files) {
            if (!file.name().equals(FILE)) {
                table.append("<tr><td>%s%s</td><td class=\"right\">%s</td><td>%s</td></tr>%n"
                        .formatted(
                                Html.escape(file.name()),
                                file.isFolder() ? "/" : "",
                                file.isFolder() ? "" : Html.size(file.length()),
                                OutputFiles.meaning(file.name())));
            }
        }
        return table.append("</table>\n").toString();
    }
}
