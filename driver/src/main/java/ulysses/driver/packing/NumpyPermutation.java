package ulysses.driver.packing;

import java.util.Arrays;
import ulysses.driver.dataset.NumpyGenerator;

/**
 * {@code numpy.random.default_rng(seed).permutation(n)}, number by number, so that {@code val_size} takes the rows that
 * LLaMA-Factory takes: Fisher-Yates over masked random bits (numpy/random/_generator.pyx shuffle, distributions.c
 * random_interval).
 */
final class NumpyPermutation {
    private final NumpyGenerator random;
    private boolean hasSpare;
    private int spare;

    private NumpyPermutation(long seed) {
        this.random = new NumpyGenerator(seed);
    }

    /** The numbers 0 .. {@code n} - 1 in numpy's order. */
    static int[] of(long seed, int n) {
        if (seed < 0) {
            throw new IllegalArgumentException("seed %d is negative; numpy takes 0 or more".formatted(seed));
        }
        NumpyPermutation permutation = new NumpyPermutation(seed);
        int[] values = new int[n];
        Arrays.setAll(values, i -> i);
        for (int i = n - 1; i > 0; i--) {
            int j = permutation.bounded(i);
            int swapped = values[i];
            values[i] = values[j];
            values[j] = swapped;
        }
        return values;
    }

    /** A number of 0 .. {@code limit}: bits are drawn until they are small enough. */
    private int bounded(int limit) {
        int mask = -1 >>> Integer.numberOfLeadingZeros(limit);
        int value = nextInt() & mask;
        while (value > limit) {
            value = nextInt() & mask;
        }
        return value;
    }

    /** The low half of a 64-bit number first, then the high half. */
    private int nextInt() {
        if (hasSpare) {
            hasSpare = false;
            return spare;
        }
        long next = random.nextLong();
        hasSpare = true;
        spare = (int) (next >>> 32);
        return (int) next;
    }
}
