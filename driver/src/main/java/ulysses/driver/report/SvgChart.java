package ulysses.driver.report;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/**
 * A chart as inline SVG, coloured by the page's style sheet. Values are read by pointing at a line where it has few points.
 *
 * @param title what is drawn
 * @param unit of the values; may be empty
 * @param across what the horizontal axis counts, in the singular
 * @param lines drawn one over the other, the first one at the back
 */
record SvgChart(String title, String unit, String across, List<Line> lines) {
    private static final int WIDTH = 640;
    private static final int HEIGHT = 260;
    private static final int LEFT = 68;
    private static final int RIGHT = 16;
    private static final int TOP = 12;
    private static final int BOTTOM = 40;
    private static final int POINTS = 1200; // chosen: two for each pixel across
    private static final int NAMED_POINTS = 250;
    private static final double TICKS = 6;

    /**
     * One line.
     *
     * @param style class in the style sheet
     */
    record Line(String label, String style, Series series) {}

    /** Over the steps of a run. */
    SvgChart(String title, String unit, List<Line> lines) {
        this(title, unit, "step", lines);
    }

    SvgChart {
        lines = lines.stream().filter(line -> !line.series().isEmpty()).toList();
    }

    boolean isEmpty() {
        return lines.isEmpty();
    }

    /** The figure with its caption and legend; nothing where there is nothing to draw. */
    String html() {
        if (isEmpty()) {
            return "";
        }
        Axis x = Axis.around(values().map(Series.Point::step).toList());
        Axis y = Axis.around(values().map(Series.Point::value).toList());
        StringBuilder svg = new StringBuilder();
        svg.append("<figure><figcaption><b>").append(Html.escape(title)).append("</b>");
        if (!unit.isEmpty()) {
            svg.append(" <span class=\"unit\">").append(Html.escape(unit)).append("</span>");
        }
        if (lines.size() > 1) {
            lines.forEach(line ->
                    svg.append(" <span class=\"key %s\">%s</span>".formatted(line.style(), Html.escape(line.label()))));
        }
        svg.append("</figcaption>\n<svg viewBox=\"0 0 %d %d\" role=\"img\" aria-label=\"%s\">%n"
                .formatted(WIDTH, HEIGHT, Html.escape(title)));
        grid(svg, x, y);
        lines.forEach(line -> draw(svg, line, x, y));
        return svg.append("</svg></figure>\n").toString();
    }

    private Stream<Series.Point> values() {
        return lines.stream().flatMap(line -> line.series().points().stream());
    }

    private static double across(Axis x, double step) {
        return LEFT + x.share(step) * (WIDTH - LEFT - RIGHT);
    }

    private static double up(Axis y, double value) {
        return HEIGHT - BOTTOM - y.share(value) * (HEIGHT - TOP - BOTTOM);
    }

    private void grid(StringBuilder svg, Axis x, Axis y) {
        int floor = HEIGHT - BOTTOM;
        for (double tick : y.ticks()) {
            double at = up(y, tick);
            svg.append(format("<path class=\"grid\" d=\"M%d %.1fH%d\"/>", LEFT, at, WIDTH - RIGHT));
            svg.append(format(
                    "<text class=\"tick\" x=\"%d\" y=\"%.1f\" text-anchor=\"end\">%s</text>%n",
                    LEFT - 7, at + 4, y.label(tick)));
        }
        for (double tick : x.ticks()) {
            if (tick == Math.rint(tick)) { // there is no half a step
                svg.append(format(
                        "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>%n",
                        across(x, tick), floor + 16, x.label(tick)));
            }
        }
        svg.append(format("<path class=\"axis\" d=\"M%d %dV%dH%d\"/>", LEFT, TOP, floor, WIDTH - RIGHT));
        svg.append(format(
                "<text class=\"tick\" x=\"%.1f\" y=\"%d\" text-anchor=\"middle\">%s</text>%n",
                (LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 6, Html.escape(across)));
    }

    private void draw(StringBuilder svg, Line line, Axis x, Axis y) {
        List<Series.Point> points = line.series().thinned(POINTS).points();
        StringBuilder path = new StringBuilder();
        for (Series.Point point : points) {
            path.append(path.isEmpty() ? 'M' : 'L')
                    .append(format("%.1f %.1f", across(x, point.step()), up(y, point.value())));
        }
        svg.append("<path class=\"line %s\" d=\"%s\"/>%n".formatted(line.style(), path));
        if (points.size() > NAMED_POINTS) {
            return;
        }
        for (Series.Point point : points) {
            svg.append(format(
                    "<circle class=\"%s %s\" cx=\"%.1f\" cy=\"%.1f\" r=\"%s\"><title>%s %.0f, %s: %s</title></circle>",
                    points.size() == 1 ? "alone" : "point",
                    line.style(),
                    across(x, point.step()),
                    up(y, point.value()),
                    points.size() == 1 ? "4" : "5",
                    Html.escape(across),
                    point.step(),
                    Html.escape(line.label()),
                    Html.number(point.value())));
        }
    }

    private static String format(String pattern, Object... values) {
        return String.format(Locale.ROOT, pattern, values);
    }

    /** A range of round numbers. */
    private record Axis(double from, double to, double step) {

        static Axis around(List<Double> values) {
            double low = values.stream().mapToDouble(value -> value).min().orElse(0);
            double high = values.stream().mapToDouble(value -> value).max().orElse(1);
            if (low == high) {
                double room = low == 0 ? 1 : Math.abs(low) / 10;
                low -= room;
                high += room;
            }
            double rough = (high - low) / TICKS;
            double power = Math.pow(10, Math.floor(Math.log10(rough)));
            double step = Stream.of(1.0, 2.0, 5.0, 10.0)
                    .map(factor -> factor * power)
                    .filter(candidate -> candidate >= rough)
                    .findFirst()
                    .orElse(10 * power);
            return new Axis(Math.floor(low / step) * step, Math.ceil(high / step) * step, step);
        }

        double share(double value) {
            return (value - from) / (to - from);
        }

        List<Double> ticks() {
            List<Double> ticks = new ArrayList<>();
            for (int i = 0; from + i * step <= to + step / 2; i++) {
                ticks.add(from + i * step);
            }
            return ticks;
        }

        String label(double tick) {
            double largest = Math.max(Math.abs(from), Math.abs(to));
            if (largest < 1e-2 || largest >= 1e9) {
                return Math.abs(tick) < step / 2 ? "0" : format("%.1e", tick);
            }
            int digits = (int) Math.max(0, Math.ceil(-Math.log10(step) - 1e-9));
            return format("%,." + digits + "f", tick);
        }
    }
}
