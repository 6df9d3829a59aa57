package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import ulysses.driver.report.Series.Point;

class SeriesTest {

    /** Written out from compat.md, section 5, for three points: weight = 1.8 (sigmoid(0.15) - 0.5). */
    @Test
    void smoothsAsLlamaFactoryDoes() {
        double weight = 1.8 * (1 / (1 + Math.exp(-0.15)) - 0.5);

        List<Point> smooth = series(4, 1, 2).smoothed().points();

        assertThat(weight).isCloseTo(0.067374, within(1e-6));
        assertThat(smooth.get(0).value()).isEqualTo(4);
        assertThat(smooth.get(1).value()).isCloseTo(4 * weight + 1 * (1 - weight), within(1e-12));
        assertThat(smooth.get(2).value()).isCloseTo(smooth.get(1).value() * weight + 2 * (1 - weight), within(1e-12));
        assertThat(smooth).extracting(Point::step).containsExactly(0.0, 1.0, 2.0);
    }

    @Test
    void longCurvesAreSmoothedMore() {
        double[] jumps = IntStream.range(0, 1000).mapToDouble(i -> i % 2).toArray();

        List<Point> smooth = series(jumps).smoothed().points();

        assertThat(smooth.get(999).value()).isCloseTo(0.5, within(0.05)); // weight 0.9
    }

    @Test
    void leavesOutWhatIsNotFinite() {
        assertThat(series(1, Double.NaN, 3, Double.POSITIVE_INFINITY).points())
                .containsExactly(new Point(0, 1), new Point(2, 3));
    }

    @Test
    void thinningKeepsSpikesAndBothEnds() {
        double[] values = new double[10_001];
        values[0] = 5;
        values[4_321] = 100;
        values[7_000] = -100;
        values[10_000] = 7;

        Series thin = series(values).thinned(500);

        assertThat(thin.points())
                .hasSizeLessThanOrEqualTo(502)
                .contains(new Point(0, 5), new Point(4_321, 100), new Point(7_000, -100), new Point(10_000, 7));
        assertThat(thin.points()).isSortedAccordingTo((a, b) -> Double.compare(a.step(), b.step()));
        assertThat(series(1, 2, 3).thinned(3).points()).hasSize(3);
    }

    static Series series(double... values) {
        return new Series(
                "loss",
                IntStream.range(0, values.length)
                        .mapToObj(i -> new Point(i, values[i]))
                        .toList());
    }
}
