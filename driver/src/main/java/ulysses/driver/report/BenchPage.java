package ulysses.driver.report;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.function.ToDoubleFunction;

/**
 * {@code bench.html}: what training steps took over lengths and settings, on one page that needs nothing else.
 *
 * @param title what was measured, and on what
 * @param steps in the order in which they were measured
 */
public record BenchPage(String title, List<Step> steps) {

    /** Name of the page. */
    public static final String FILE = "bench.html";

    private static final double GIB = 1L << 30;
    private static final List<String> STYLES = List.of("first", "second", "third", "fourth", "pale");

    /**
     * The median step of one length and setting.
     *
     * @param setting a line of the charts
     * @param tokens of the sequence
     * @param seconds of the step
     * @param peakBytes largest memory of rank 0
     * @param parts seconds of its parts by their names
     */
    public record Step(String setting, int tokens, double seconds, long peakBytes, Map<String, Double> parts) {
        public Step {
            parts = new LinkedHashMap<>(parts);
        }

        /** Seconds of the parts by their names, in order. */
        @Override
        public Map<String, Double> parts() {
            return new LinkedHashMap<>(parts);
        }
    }

    public BenchPage {
        steps = List.copyOf(steps);
    }

    /** The whole page. */
    public String html() {
        StringBuilder html = new StringBuilder("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">");
        html.append("<title>bench</title>\n<style>").append(PageStyle.CSS).append("</style></head><body>\n<h1>");
        html.append(Html.escape(title)).append("</h1>\n<div class=\"charts\">\n");
        html.append(chart("Peak memory of rank 0", "GiB", step -> step.peakBytes() / GIB));
        html.append(chart("Step", "s", Step::seconds));
        partNames()
                .forEach(part ->
                        html.append(chart(part, "s", step -> step.parts().getOrDefault(part, Double.NaN))));
        return html.append("</div>\n<h2>Table</h2>\n")
                .append(table())
                .append("</body></html>\n")
                .toString();
    }

    private Set<String> partNames() {
        Set<String> names = new LinkedHashSet<>();
        steps.forEach(step -> names.addAll(step.parts().keySet()));
        return names;
    }

    private String chart(String name, String unit, ToDoubleFunction<Step> value) {
        Map<String, List<Series.Point>> lines = new LinkedHashMap<>();
        for (Step step : steps) {
            lines.computeIfAbsent(step.setting(), setting -> new ArrayList<>())
                    .add(new Series.Point(step.tokens(), value.applyAsDouble(step)));
        }
        List<SvgChart.Line> drawn = new ArrayList<>();
        lines.forEach((setting, points) -> drawn.add(
                new SvgChart.Line(setting, STYLES.get(drawn.size() % STYLES.size()), Series.of(setting, points))));
        return new SvgChart(name, unit, "tokens", drawn).html();
    }

    private String table() {
        StringBuilder html = new StringBuilder(
                "<table><tr><th>setting</th><th>tokens</th><th>peak of rank 0, GiB</th><th>step, s</th><th>tokens/s</th>");
        partNames().forEach(part -> html.append("<th>%s, s</th>".formatted(Html.escape(part))));
        html.append("</tr>\n");
        for (Step step : steps) {
            html.append(String.format(
                    Locale.ROOT,
                    "<tr><td>%s</td><td class=\"right\">%,d</td><td class=\"right\">%.2f</td><td class=\"right\">%.3f</td>"
                            + "<td class=\"right\">%,.0f</td>",
                    Html.escape(step.setting()),
                    step.tokens(),
                    step.peakBytes() / GIB,
                    step.seconds(),
                    step.tokens() / step.seconds()));
            for (String part : partNames()) {
                Double seconds = step.parts().get(part);
                html.append("<td class=\"right\">%s</td>"
                        .formatted(seconds == null ? "" : String.format(Locale.ROOT, "%.3f", seconds)));
            }
            html.append("</tr>\n");
        }
        return html.append("</table>\n").toString();
    }
}
