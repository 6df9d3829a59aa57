package ulysses.driver.packing;

import java.util.Arrays;

/**
 * {@code numpy.random.default_rng(seed).permutation(n)}, number by number, so that {@code val_size} takes the rows that
 * LLaMA-Factory takes: SeedSequence (O'Neill's seed_seq_fe), PCG64 (PCG XSL RR 128/64) and Fisher-Yates over masked random
 * bits, as in numpy 1.17 and later (numpy/random/bit_generator.pyx, pcg64.h, distributions.c).
 */
final class NumpyPermutation {
    private static final int POOL_SIZE = 4;
    private static final int XSHIFT = 16;
    private static final int INIT_A = 0x43b0d7e5;
    private static final int MULT_A = 0x931e8875;
    private static final int INIT_B = 0x8b51f9dd;
    private static final int MULT_B = 0x58f38ded;
    private static final int MIX_MULT_L = 0xca01f9dd;
    private static final int MIX_MULT_R = 0x4973f715;
    private static final long PCG_MULTIPLIER_HIGH = 0x2360ED051FC65DA4L;
    private static final long PCG_MULTIPLIER_LOW = 0x4385DF649FCCF645L;

    private int hashConstant = INIT_A;
    private long stateHigh;
    private long stateLow;
    private final long incrementHigh;
    private final long incrementLow;
    private boolean hasSpare;
    private int spare;

    private NumpyPermutation(long seed) {
        long[] words = generateState(pool(seed));
        this.incrementHigh = words[2] << 1 | words[3] >>> 63;
        this.incrementLow = words[3] << 1 | 1;
        step();
        add(words[0], words[1]);
        step();
    }

    /** The numbers 0 .. {@code n} - 1 in numpy's order. */
    static int[] of(long seed, int n) {
        if (seed < 0) {
            throw new IllegalArgumentException("seed %d is negative; numpy takes 0 or more".formatted(seed));
        }
        NumpyPermutation random = new NumpyPermutation(seed);
        int[] values = new int[n];
        Arrays.setAll(values, i -> i);
        for (int i = n - 1; i > 0; i--) {
            int j = random.bounded(i);
            int swapped = values[i];
            values[i] = values[j];
            values[j] = swapped;
        }
        return values;
    }

    private int[] pool(long seed) {
        int[] entropy = seed >>> 32 == 0 ? new int[] {(int) seed} : new int[] {(int) seed, (int) (seed >>> 32)};
        int[] pool = new int[POOL_SIZE];
        for (int i = 0; i < POOL_SIZE; i++) {
            pool[i] = hash(i < entropy.length ? entropy[i] : 0);
        }
        for (int source = 0; source < POOL_SIZE; source++) {
            for (int target = 0; target < POOL_SIZE; target++) {
                if (source != target) {
                    pool[target] = mix(pool[target], hash(pool[source]));
                }
            }
        }
        return pool;
    }

    private int hash(int value) {
        int hashed = value ^ hashConstant;
        hashConstant *= MULT_A;
        hashed *= hashConstant;
        return hashed ^ hashed >>> XSHIFT;
    }

    private static int mix(int x, int y) {
        int result = MIX_MULT_L * x - MIX_MULT_R * y;
        return result ^ result >>> XSHIFT;
    }

    /** Four 64-bit words: the initial state and the stream of PCG64, high word first. */
    private static long[] generateState(int[] pool) {
        long[] words = new long[4];
        int constant = INIT_B;
        for (int i = 0; i < 8; i++) {
            int value = pool[i % POOL_SIZE] ^ constant;
            constant *= MULT_B;
            value *= constant;
            value ^= value >>> XSHIFT;
            words[i / 2] |= (value & 0xFFFF_FFFFL) << (i % 2 * 32);
        }
        return words;
    }

    /** state = state * multiplier + increment, modulo 2^128. */
    private void step() {
        long high = Math.multiplyHigh(stateLow, PCG_MULTIPLIER_LOW)
                + (stateLow >> 63 & PCG_MULTIPLIER_LOW)
                + (PCG_MULTIPLIER_LOW >> 63 & stateLow)
                + stateHigh * PCG_MULTIPLIER_LOW
                + stateLow * PCG_MULTIPLIER_HIGH;
        stateLow *= PCG_MULTIPLIER_LOW;
        stateHigh = high;
        add(incrementHigh, incrementLow);
    }

    private void add(long high, long low) {
        long sum = stateLow + low;
        stateHigh += high + (Long.compareUnsigned(sum, low) < 0 ? 1 : 0);
        stateLow = sum;
    }

    private long next64() {
        step();
        return Long.rotateRight(stateHigh ^ stateLow, (int) (stateHigh >>> 58));
    }

    /** The low half of a 64-bit number first, then the high half. */
    private int next32() {
        if (hasSpare) {
            hasSpare = false;
            return spare;
        }
        long next = next64();
        hasSpare = true;
        spare = (int) (next >>> 32);
        return (int) next;
    }

    /** A number of 0 .. {@code limit}: bits are drawn until they are small enough. */
    private int bounded(int limit) {
        int mask = -1 >>> Integer.numberOfLeadingZeros(limit);
        int value = next32() & mask;
        while (value > limit) {
            value = next32() & mask;
        }
        return value;
    }
}
