package ulysses.driver.report;

import java.awt.BasicStroke;
import java.awt.Color;
import java.awt.Font;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.DoubleSummaryStatistics;
import java.util.List;
import java.util.Locale;
import org.knowm.xchart.BitmapEncoder;
import org.knowm.xchart.XYChart;
import org.knowm.xchart.XYChartBuilder;
import org.knowm.xchart.XYSeries;
import org.knowm.xchart.style.Styler;
import org.knowm.xchart.style.XYStyler;
import org.knowm.xchart.style.markers.SeriesMarkers;

/**
 * A curve as a PNG of LLaMA-Factory's {@code plot_loss}: what was logged in pale blue, smoothed in blue. Needs no display, but
 * fonts on the machine.
 */
final class CurvePicture {
    private static final int WIDTH = 960;
    private static final int HEIGHT = 640;
    private static final int POINTS = 4000; // chosen: four for each pixel across
    private static final Color BLUE = new Color(0x1f, 0x77, 0xb4);
    private static final Color PALE =
            new Color(0xa5, 0xc9, 0xe1); // 40 % of blue on white; opaque, or overlaps turn dark
    private static final Color GRID = new Color(0xe4, 0xe4, 0xe4);
    private static final Color TEXT = new Color(0x26, 0x26, 0x26);

    /** About so many labels stand on the axis of values. */
    private static final int LABELS = 12;

    private static final int MOST_DIGITS = 7;

    private static final double ROUNDING = 1e-12;

    private CurvePicture() {}

    /** Name of the picture of {@code series}: rewards/margins is in training_rewards_margins.png. */
    static String fileName(String series) {
        return "training_%s.png".formatted(series.replace('/', '_'));
    }

    /**
     * Draws it.
     *
     * @param series has at least one point
     * @param run what the title names
     */
    static byte[] png(Series series, String run) {
        XYChart chart = new XYChartBuilder()
                .width(WIDTH)
                .height(HEIGHT)
                .title("training %s of %s".formatted(series.name(), run))
                .xAxisTitle("step")
                .yAxisTitle(series.name())
                .build();
        style(chart.getStyler(), series);
        add(chart, "original", series, PALE, 1.6f);
        add(chart, "smoothed", series.smoothed(), BLUE, 2.4f);
        ByteArrayOutputStream png = new ByteArrayOutputStream();
        try {
            BitmapEncoder.saveBitmap(chart, png, BitmapEncoder.BitmapFormat.PNG);
        } catch (IOException e) {
            throw new UncheckedIOException("a picture can't be written into memory", e);
        }
        return png.toByteArray();
    }

    private static void style(XYStyler styler, Series series) {
        styler.setChartBackgroundColor(Color.WHITE);
        styler.setPlotBackgroundColor(Color.WHITE);
        styler.setPlotBorderColor(TEXT);
        styler.setPlotGridLinesColor(GRID);
        styler.setPlotGridLinesStroke(new BasicStroke(1));
        styler.setChartFontColor(TEXT);
        styler.setChartTitleFont(new Font(Font.SANS_SERIF, Font.PLAIN, 18));
        styler.setAxisTitleFont(new Font(Font.SANS_SERIF, Font.PLAIN, 16));
        styler.setAxisTickLabelsFont(new Font(Font.SANS_SERIF, Font.PLAIN, 14));
        styler.setLegendFont(new Font(Font.SANS_SERIF, Font.PLAIN, 15));
        styler.setLegendPosition(Styler.LegendPosition.InsideNE);
        styler.setLegendBorderColor(GRID);
        styler.setChartTitleBoxVisible(false);
        styler.setMarkerSize(9);
        styler.setLocale(Locale.ROOT);
        styler.setXAxisDecimalPattern("#,##0.##");
        DoubleSummaryStatistics values =
                series.points().stream().mapToDouble(Series.Point::value).summaryStatistics();
        styler.setYAxisDecimalPattern("#,##0." + "0".repeat(digits(values)));
        scaleAroundOneValue(styler, values);
    }

    /** Values that differ by rounding alone get an axis round them: a scale of their own would show the rounding. */
    private static void scaleAroundOneValue(XYStyler styler, DoubleSummaryStatistics values) {
        if (values.getMax() - values.getMin() <= ROUNDING * Math.abs(values.getMax())) {
            double room = values.getMax() == 0 ? 1 : Math.abs(values.getMax()) / 10;
            styler.setYAxisMin(values.getMin() - room).setYAxisMax(values.getMax() + room);
        }
    }

    /** As many as neighbouring labels need to differ. */
    private static int digits(DoubleSummaryStatistics values) {
        double apart = (values.getMax() - values.getMin()) / LABELS;
        return apart == 0 ? 3 : (int) Math.max(1, Math.min(MOST_DIGITS, Math.ceil(-Math.log10(apart))));
    }

    private static void add(XYChart chart, String name, Series series, Color colour, float width) {
        List<Series.Point> points = series.thinned(POINTS).points();
        XYSeries line = chart.addSeries(
                name,
                points.stream().mapToDouble(Series.Point::step).toArray(),
                points.stream().mapToDouble(Series.Point::value).toArray());
        line.setLineColor(colour);
        line.setLineStyle(new BasicStroke(width, BasicStroke.CAP_ROUND, BasicStroke.JOIN_ROUND));
        line.setMarker(points.size() == 1 ? SeriesMarkers.CIRCLE : SeriesMarkers.NONE);
        line.setMarkerColor(colour);
    }
}
