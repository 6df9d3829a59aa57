package ulysses.runtime.data;

/**
 * A Feistel network permutes 0 .. 4^halfBits - 1; a result outside of 0 .. rows - 1 is put through it again, which ends inside
 * because the network is a bijection (cycle walking: Black and Rogaway, "Ciphers with arbitrary finite domains", 2002).
 */
record FeistelOrder(long rows, long seed, int halfBits) implements RowOrder {
    private static final int ROUNDS = 6;

    FeistelOrder(long rows, long seed) {
        this(rows, seed, halfBits(rows));
    }

    FeistelOrder {
        if (rows < 1 || rows > 1L << 60) {
            throw new IllegalArgumentException("an order of %d rows; 1 to 2^60 are possible".formatted(rows));
        }
    }

    private static int halfBits(long rows) {
        int bits = Long.SIZE - Long.numberOfLeadingZeros(Math.max(rows - 1, 1));
        return (bits + 1) / 2;
    }

    @Override
    public long row(long epoch, long index) {
        if (index < 0 || index >= rows) {
            throw new IndexOutOfBoundsException("place %d of %d rows".formatted(index, rows));
        }
        long key = mix(mix(seed) + epoch);
        long value = index;
        do {
            value = permute(value, key);
        } while (value >= rows);
        return value;
    }

    private long permute(long value, long key) {
        long mask = (1L << halfBits) - 1;
        long left = value >>> halfBits;
        long right = value & mask;
        for (int round = 0; round < ROUNDS; round++) {
            long next = left ^ (mix(right + mix(key + round)) & mask);
            left = right;
            right = next;
        }
        return left << halfBits | right;
    }

    /** SplitMix64's finalizer (Steele, Lea, Flood, "Fast splittable pseudorandom number generators", 2014). */
    private static long mix(long value) {
        long z = value + 0x9E3779B97F4A7C15L;
        z = (z ^ (z >>> 30)) * 0xBF58476D1CE4E5B9L;
        z = (z ^ (z >>> 27)) * 0x94D049BB133111EBL;
        return z ^ (z >>> 31);
    }
}
