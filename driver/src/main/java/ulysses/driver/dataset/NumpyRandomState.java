package ulysses.driver.dataset;

/**
 * NumPy's global generator after {@code np.random.seed(seed)}: MT19937 (Matsumoto and Nishimura 1998) with masks and rejection for
 * integers. LLaMA-Factory draws {@code num_samples} with it, one dataset after the other, so the draws go on from dataset to dataset.
 */
public final class NumpyRandomState {
    private static final int LENGTH = 624;
    private static final int MIDDLE = 397;

    private final int[] state = new int[LENGTH];
    private int position = LENGTH;

    /** The generator of a seed; its low 32 bits count. */
    public NumpyRandomState(long seed) {
        state[0] = (int) seed;
        for (int i = 1; i < LENGTH; i++) {
            state[i] = 1812433253 * (state[i - 1] ^ (state[i - 1] >>> 30)) + i;
        }
    }

    private int nextInt() {
        if (position == LENGTH) {
            for (int i = 0; i < LENGTH; i++) {
                int mixed = (state[i] & 0x80000000) | (state[(i + 1) % LENGTH] & 0x7fffffff);
                state[i] = state[(i + MIDDLE) % LENGTH] ^ (mixed >>> 1) ^ ((mixed & 1) == 0 ? 0 : 0x9908b0df);
            }
            position = 0;
        }
        int y = state[position++];
        y ^= y >>> 11;
        y ^= (y << 7) & 0x9d2c5680;
        y ^= (y << 15) & 0xefc60000;
        return y ^ (y >>> 18);
    }

    /** Uniform in 0 to {@code largest}, which is included. */
    private int upTo(int largest) {
        int mask = largest == 0 ? 0 : -1 >>> Integer.numberOfLeadingZeros(largest);
        int value = nextInt() & mask;
        while (value > largest) {
            value = nextInt() & mask;
        }
        return value;
    }

    /** {@code permutation(count)}. */
    public int[] permutation(int count) {
        int[] order = new int[count];
        for (int i = 0; i < count; i++) {
            order[i] = i;
        }
        for (int i = count - 1; i > 0; i--) {
            int other = upTo(i);
            int swapped = order[i];
            order[i] = order[other];
            order[other] = swapped;
        }
        return order;
    }

    /** {@code choice(below, count)}: drawn with repetition. */
    public int[] choice(int below, int count) {
        int[] drawn = new int[count];
        for (int i = 0; i < count; i++) {
            drawn[i] = below == 1 ? 0 : upTo(below - 1);
        }
        return drawn;
    }
}
