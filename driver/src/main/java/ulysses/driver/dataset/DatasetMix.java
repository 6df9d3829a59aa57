package ulysses.driver.dataset;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import ulysses.runtime.data.DataException;

/**
 * Which numbers the rows of each dataset get in the mix: {@code mix_strategy}. Each dataset is drawn from in order, beginning again
 * at its end where the strategy repeats rows; draw {@code j} of a dataset with {@code n} rows is its row {@code j mod n}.
 */
final class DatasetMix {

    /** The draws from one dataset. */
    interface Draws extends Serializable {

        /** How many. */
        long count();

        /** Number in the mix of one draw. */
        long rowNumber(long draw);
    }

    private DatasetMix() {}

    /**
     * The draws from each dataset.
     *
     * @param strategy {@code mix_strategy}
     * @param lengths rows of each dataset
     * @param probabilities {@code interleave_probs}, one for each dataset, positive, with the sum 1, as the configuration's rules see
     *     to; empty means in turn
     * @param seed of the draws with probabilities
     */
    static List<Draws> of(String strategy, long[] lengths, List<Double> probabilities, long seed) {
        if (strategy.equals("concat") || lengths.length == 1) {
            return concatenated(lengths);
        }
        if (!List.of("interleave_under", "interleave_over", "interleave_once").contains(strategy)) {
            throw new DataException(
                    "mix_strategy %s is not known; use concat, interleave_under, interleave_over or interleave_once"
                            .formatted(strategy));
        }
        if (probabilities.isEmpty()) {
            return inTurn(strategy, lengths);
        }
        return drawn(strategy, lengths, probabilities, seed);
    }

    private record Consecutive(long first, long count) implements Draws {
        @Override
        public long rowNumber(long draw) {
            return first + draw;
        }
    }

    private static List<Draws> concatenated(long[] lengths) {
        List<Draws> draws = new ArrayList<>();
        long first = 0;
        for (long length : lengths) {
            draws.add(new Consecutive(first, length));
            first += length;
        }
        return draws;
    }

    private record EveryNth(long dataset, long datasets, long count) implements Draws {
        @Override
        public long rowNumber(long draw) {
            return draw * datasets + dataset;
        }
    }

    /** In turn until each is used up; one that is used up is left out. */
    private record OnceInTurn(int dataset, List<Long> lengths) implements Draws {
        @Override
        public long count() {
            return lengths.get(dataset);
        }

        @Override
        public long rowNumber(long draw) {
            long number = 0;
            for (int other = 0; other < lengths.size(); other++) {
                number += Math.min(lengths.get(other), draw + (other < dataset ? 1 : 0));
            }
            return number;
        }
    }

    private static List<Draws> inTurn(String strategy, long[] lengths) {
        List<Long> boxed = Arrays.stream(lengths).boxed().toList();
        long shortest = Arrays.stream(lengths).min().orElse(0);
        long longest = Arrays.stream(lengths).max().orElse(0);
        List<Draws> draws = new ArrayList<>();
        for (int i = 0; i < lengths.length; i++) {
            draws.add(
                    switch (strategy) {
                        case "interleave_under" -> new EveryNth(i, lengths.length, shortest);
                        case "interleave_over" -> new EveryNth(i, lengths.length, longest);
                        default -> new OnceInTurn(i, boxed);
                    });
        }
        return draws;
    }

    @SuppressWarnings(
            "ArrayRecordComponent") // never compared; a boxed number for each row would take three times the memory
    private record Listed(long[] numbers) implements Draws {
        @Override
        public long count() {
            return numbers.length;
        }

        @Override
        public long rowNumber(long draw) {
            return numbers[(int) draw];
        }
    }

    /** Draws as {@code datasets.interleave_datasets} makes them, with NumPy's generator: the same mix for the same seed. */
    private static List<Draws> drawn(String strategy, long[] lengths, List<Double> probabilities, long seed) {
        NumpyGenerator random = new NumpyGenerator(seed);
        double[] cumulated = cumulated(probabilities);
        List<List<Long>> numbers = new ArrayList<>();
        for (int i = 0; i < lengths.length; i++) {
            numbers.add(new ArrayList<>());
        }
        boolean[] usedUp = new boolean[lengths.length];
        long number = 0;
        while (!ends(strategy, usedUp)) {
            int dataset = chosen(cumulated, random.nextDouble());
            List<Long> own = numbers.get(dataset);
            if (strategy.equals("interleave_once") && usedUp[dataset]) {
                continue;
            }
            own.add(number++);
            usedUp[dataset] |= own.size() >= lengths[dataset];
        }
        List<Draws> draws = new ArrayList<>();
        numbers.forEach(own ->
                draws.add(new Listed(own.stream().mapToLong(Long::longValue).toArray())));
        return draws;
    }

    private static boolean ends(String strategy, boolean[] usedUp) {
        int count = 0;
        for (boolean one : usedUp) {
            count += one ? 1 : 0;
        }
        return strategy.equals("interleave_under") ? count > 0 : count == usedUp.length;
    }

    private static double[] cumulated(List<Double> probabilities) {
        double[] cumulated = new double[probabilities.size()];
        double sum = 0;
        for (int i = 0; i < cumulated.length; i++) {
            sum += probabilities.get(i);
            cumulated[i] = sum;
        }
        for (int i = 0; i < cumulated.length; i++) {
            cumulated[i] /= sum;
        }
        return cumulated;
    }

    private static int chosen(double[] cumulated, double uniform) {
        int i = 0;
        while (i < cumulated.length - 1 && cumulated[i] <= uniform) {
            i++;
        }
        return i;
    }
}
