package ulysses.runtime.mesh;

import ulysses.runtime.config.ParallelConfig.Device;

/**
 * How much of a sequence is computed at once where a token knows no other: everything in a layer but attention.
 *
 * @param elements of the widest tensor inside, [t,F], that exist at once
 */
public record TileShape(long elements) {

    /** Matrix products want large tiles, the passes between them small ones: 16 MiB in float32; chosen, not tuned. */
    private static final long CPU = 4L << 20;

    /** 256 MiB in bfloat16; chosen, not tuned. */
    private static final long CUDA = 128L << 20;

    /** Rows of matrix products come in multiples of this, where there are so many. */
    private static final long ROWS = 128;

    /** What suits {@code device}. */
    public static TileShape of(Device device) {
        return new TileShape(device == Device.CPU ? CPU : CUDA);
    }

    /** Tokens of one tile with {@code width} features inside. */
    public long tokens(long width) {
        long tokens = Math.max(1, elements / width);
        return tokens < ROWS ? tokens : tokens - tokens % ROWS;
    }
}
