package ulysses.runtime.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Deals the rows of one optimizer step to the micro-batches of groups, so that groups wait little for each other: first to
 * micro-batches of about the same cost, dearest row first (longest processing time, Graham 1969), then micro-batches to groups in the
 * same way. A pure function of costs.
 *
 * @param groups that work at the same time
 * @param microBatches of each
 * @param rows that a micro-batch holds at most
 */
public record RowDealing(int groups, int microBatches, int rows) {

    /** Where groups wait for each other. */
    public enum Meeting {
        /** When all micro-batches of a step are done, and gradients are summed. */
        BEHIND_STEP,
        /** Behind each micro-batch too, whose gradients or weights are shared (zero_stage 2 and 3). */
        BEHIND_MICRO_BATCH
    }

    /** One micro-batch of one group while it is filled. */
    private static final class Bin {
        private final List<Integer> rows = new ArrayList<>();
        private double cost;

        double cost() {
            return cost;
        }
    }

    /** Rows in their order, as Hugging Face's accelerate deals them: entry m * groups + g is what group g gets m-th. */
    List<List<Integer>> inOrder(int count) {
        return IntStream.range(0, groups * microBatches)
                .mapToObj(bin -> IntStream.range(Math.min(count, bin * rows), Math.min(count, (bin + 1) * rows))
                        .boxed()
                        .toList())
                .toList();
    }

    /**
     * The same by {@code costs} of the rows, at most as many as fit; rows of a micro-batch stay in order. Where groups meet behind each
     * micro-batch, those of about the same cost come together.
     */
    List<List<Integer>> balanced(double[] costs, Meeting meeting) {
        List<Bin> bins = filled(costs);
        bins.sort(Comparator.comparingDouble(Bin::cost).reversed());
        double[] loads = new double[groups];
        int[] taken = new int[groups];
        List<List<Integer>> dealt = new ArrayList<>(inOrder(0));
        for (int i = 0; i < bins.size(); i++) {
            Bin bin = bins.get(i);
            int most = meeting == Meeting.BEHIND_MICRO_BATCH ? i / groups + 1 : microBatches;
            int group = IntStream.range(0, groups)
                    .filter(it -> taken[it] < most)
                    .boxed()
                    .min(Comparator.comparingDouble(it -> loads[it]))
                    .orElseThrow();
            dealt.set(taken[group] * groups + group, bin.rows.stream().sorted().toList());
            loads[group] += bin.cost;
            taken[group]++;
        }
        return dealt;
    }

    private List<Bin> filled(double[] costs) {
        List<Bin> bins = new ArrayList<>();
        for (int i = 0; i < groups * microBatches; i++) {
            bins.add(new Bin());
        }
        IntStream.range(0, costs.length)
                .boxed()
                .sorted(Comparator.comparingDouble((Integer row) -> costs[row]).reversed())
                .forEachOrdered(row -> {
                    Bin least = bins.stream()
                            .filter(bin -> bin.rows.size() < rows)
                            .min(Comparator.comparingDouble(Bin::cost))
                            .orElseThrow();
                    least.rows.add(row);
                    least.cost += costs[row];
                });
        return bins;
    }

    /**
     * What groups compute and wait for.
     *
     * @param dealt by one of the methods above
     * @param costs of the rows
     */
    Load load(List<List<Integer>> dealt, double[] costs, Meeting meeting) {
        double busy = 0;
        double slowest = 0;
        double[] ofGroups = new double[groups];
        for (int m = 0; m < microBatches; m++) {
            for (int g = 0; g < groups; g++) {
                double cost = dealt.get(m * groups + g).stream()
                        .mapToDouble(row -> costs[row])
                        .sum();
                ofGroups[g] += cost;
                busy += cost;
            }
            if (meeting == Meeting.BEHIND_MICRO_BATCH || m == microBatches - 1) {
                slowest += Arrays.stream(ofGroups).max().orElse(0);
                ofGroups = new double[groups];
            }
        }
        return new Load(busy / groups, slowest);
    }

    /**
     * What a group computes on average, and how long the step takes.
     *
     * @param mean cost of a group
     * @param slowest what all wait for
     */
    record Load(double mean, double slowest) {
        Load plus(Load other) {
            return new Load(mean + other.mean, slowest + other.slowest);
        }

        double waitShare() {
            return slowest == 0 ? 0 : 1 - mean / slowest;
        }
    }
}
