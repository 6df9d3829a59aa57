package ulysses.driver.report;

import java.util.ArrayList;
import java.util.Collection;
import java.util.List;

/**
 * One curve of a run.
 *
 * @param name as the log has it: loss, rewards/margins
 * @param points in order of steps; values that are not finite are left out
 */
record Series(String name, List<Point> points) {

    /** A value at a step. */
    record Point(double step, double value) {}

    Series {
        points = points.stream().filter(point -> Double.isFinite(point.value())).toList();
    }

    static Series of(String name, Collection<Point> points) {
        return new Series(name, List.copyOf(points));
    }

    boolean isEmpty() {
        return points.isEmpty();
    }

    double last() {
        return points.get(points.size() - 1).value();
    }

    /**
     * The curve as LLaMA-Factory smooths it: an exponential moving average whose weight grows with the number of points n, 1.8 *
     * (sigmoid(0.05 n) - 0.5).
     */
    Series smoothed() {
        double weight = 1.8 * (1 / (1 + Math.exp(-0.05 * points.size())) - 0.5);
        List<Point> smooth = new ArrayList<>();
        double last = points.isEmpty() ? 0 : points.get(0).value();
        for (Point point : points) {
            last = last * weight + (1 - weight) * point.value();
            smooth.add(new Point(point.step(), last));
        }
        return new Series(name, smooth);
    }

    /** At most about {@code limit} points: the smallest and the largest of each stretch, so that no spike is lost. */
    Series thinned(int limit) {
        if (points.size() <= limit) {
            return this;
        }
        int stretch = (2 * points.size() + limit - 1) / limit;
        List<Point> kept = new ArrayList<>();
        for (int from = 0; from < points.size(); from += stretch) {
            List<Point> some = points.subList(from, Math.min(from + stretch, points.size()));
            Point low = some.get(0);
            Point high = low;
            for (Point point : some) {
                low = point.value() < low.value() ? point : low;
                high = point.value() > high.value() ? point : high;
            }
            kept.add(low.step() <= high.step() ? low : high);
            if (low.step() != high.step()) {
                kept.add(low.step() <= high.step() ? high : low);
            }
        }
        return new Series(name, kept);
    }
}
