package ulysses.runtime.gradient;

/**
 * Random numbers that are a function of their place: Philox4x32-10 of Salmon and others, "Parallel random numbers: as easy as 1, 2,
 * 3" (SC 2011). The same on every machine, since its arithmetic is whole numbers and StrictMath.
 */
final class Philox {
    private static final int ROUNDS = 10;
    private static final long FIRST_FACTOR = 0xD2511F53L;
    private static final long SECOND_FACTOR = 0xCD9E8D57L;
    private static final int FIRST_WEYL = 0x9E3779B9;
    private static final int SECOND_WEYL = 0xBB67AE85;
    /** Numbers that are drawn together. */
    static final int WORDS = 4;

    private static final double UNIT = 0x1p-32;

    private Philox() {}

    /** The four words of {@code counter} under {@code key}, in place of the counter. */
    static void block(int[] counter, long key) {
        int first = (int) key;
        int second = (int) (key >>> 32);
        for (int round = 0; round < ROUNDS; round++) {
            long low = FIRST_FACTOR * (counter[0] & 0xffffffffL);
            long high = SECOND_FACTOR * (counter[2] & 0xffffffffL);
            int a = (int) (high >>> 32) ^ counter[1] ^ first;
            int b = (int) (low >>> 32) ^ counter[3] ^ second;
            counter[0] = a;
            counter[1] = (int) high;
            counter[2] = b;
            counter[3] = (int) low;
            first += FIRST_WEYL;
            second += SECOND_WEYL;
        }
    }

    /**
     * Standard normal numbers (Box and Muller).
     *
     * @param key seed
     * @param step and {@code stream} which sequence
     * @param first place in it of the first number; a multiple of 4
     * @param target filled from its begin
     */
    static void normals(long key, int step, int stream, long first, float[] target) {
        int[] words = new int[WORDS];
        for (int i = 0; i < target.length; i += WORDS) {
            long place = (first + i) / WORDS;
            words[0] = (int) place;
            words[1] = (int) (place >>> 32);
            words[2] = step;
            words[3] = stream;
            block(words, key);
            pair(words[0], words[1], target, i);
            pair(words[2], words[3], target, i + 2);
        }
    }

    private static void pair(int left, int right, float[] target, int at) {
        double radius = StrictMath.sqrt(-2 * StrictMath.log(((left & 0xffffffffL) + 1) * UNIT));
        double angle = 2 * Math.PI * (right & 0xffffffffL) * UNIT;
        if (at < target.length) {
            target[at] = (float) (radius * StrictMath.cos(angle));
        }
        if (at + 1 < target.length) {
            target[at + 1] = (float) (radius * StrictMath.sin(angle));
        }
    }
}
