package ulysses.driver.dataset;

import java.math.BigInteger;

/**
 * NumPy's {@code default_rng(seed)}: PCG64 (XSL-RR 128/64, O'Neill 2014) seeded through SeedSequence. LLaMA-Factory mixes and splits
 * datasets with it, so the same seed gives the same rows here.
 */
public final class NumpyGenerator {

    private static final BigInteger MODULUS = BigInteger.ONE.shiftLeft(128);
    private static final BigInteger MULTIPLIER = new BigInteger("2360ED051FC65DA44385DF649FCCF645", 16);
    private static final BigInteger LOW_64 = BigInteger.ONE.shiftLeft(64).subtract(BigInteger.ONE);

    private final BigInteger increment;
    private BigInteger state;

    /** The generator of {@code default_rng(seed)}. */
    public NumpyGenerator(long seed) {
        int[] words = seedWords(seed);
        BigInteger start = word128(words, 0);
        BigInteger stream = word128(words, 4);
        this.increment = stream.shiftLeft(1).or(BigInteger.ONE).mod(MODULUS);
        this.state = BigInteger.ZERO;
        step();
        state = state.add(start).mod(MODULUS);
        step();
    }

    private void step() {
        state = state.multiply(MULTIPLIER).add(increment).mod(MODULUS);
    }

    /** {@code generate_state(4, uint64)}: the high word of each pair first. */
    private static BigInteger word128(int[] words, int at) {
        return word64(words, at).shiftLeft(64).or(word64(words, at + 2));
    }

    private static BigInteger word64(int[] words, int at) {
        return BigInteger.valueOf(Integer.toUnsignedLong(words[at + 1]))
                .shiftLeft(32)
                .or(BigInteger.valueOf(Integer.toUnsignedLong(words[at])));
    }

    /** 64 random bits. */
    public long nextLong() {
        step();
        BigInteger high = state.shiftRight(64);
        long folded = high.xor(state.and(LOW_64)).longValue();
        return Long.rotateRight(folded, high.shiftRight(58).intValue());
    }

    /** Uniform in [0, 1), 53 bits. */
    double nextDouble() {
        return (nextLong() >>> 11) * 0x1.0p-53;
    }

    /** SeedSequence(seed).generate_state(8): a pool of four words, mixed, then hashed out. */
    private static int[] seedWords(long seed) {
        int[] entropy = {(int) seed, (int) (seed >>> 32)};
        int used = entropy[1] == 0 ? 1 : 2;
        int[] pool = new int[4];
        Hash hash = new Hash(0x43b0d7e5, 0x931e8875);
        for (int i = 0; i < pool.length; i++) {
            pool[i] = hash.of(i < used ? entropy[i] : 0);
        }
        for (int source = 0; source < pool.length; source++) {
            for (int target = 0; target < pool.length; target++) {
                if (source != target) {
                    pool[target] = mix(pool[target], hash.of(pool[source]));
                }
            }
        }
        int[] words = new int[8];
        Hash out = new Hash(0x8b51f9dd, 0x58f38ded);
        for (int i = 0; i < words.length; i++) {
            words[i] = out.of(pool[i % pool.length]);
        }
        return words;
    }

    private static int mix(int x, int y) {
        int result = 0xca01f9dd * x - 0x4973f715 * y;
        return result ^ (result >>> 16);
    }

    /** The running hash of SeedSequence. */
    private static final class Hash {
        private int constant;
        private final int multiplier;

        Hash(int constant, int multiplier) {
            this.constant = constant;
            this.multiplier = multiplier;
        }

        int of(int value) {
            int hashed = value ^ constant;
            constant *= multiplier;
            hashed *= constant;
            return hashed ^ (hashed >>> 16);
        }
    }
}
