package ulysses.runtime.weights;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Conversion between float32 and the narrower formats of weight files; every buffer is little-endian. */
public final class FloatFormat {
    private FloatFormat() {}

    /**
     * Widens the elements between position and limit of {@code source} exactly, and puts them at the position of {@code into},
     * which needs 4 bytes for each; both positions move.
     */
    public static void widen(DataType type, ByteBuffer source, ByteBuffer into) {
        ByteBuffer from = source.order(ByteOrder.LITTLE_ENDIAN);
        ByteBuffer to = into.order(ByteOrder.LITTLE_ENDIAN);
        switch (type) {
            case F32 -> to.put(from);
            case BF16 -> {
                while (from.hasRemaining()) {
                    to.putInt(from.getShort() << 16);
                }
            }
            case F16 -> {
                while (from.hasRemaining()) {
                    to.putFloat(halfToFloat(from.getShort()));
                }
            }
            case F64, I64, I32, I16, I8, U8, BOOL ->
                throw new IllegalArgumentException("%s can't be widened to float32".formatted(type));
        }
    }

    /** The nearest bfloat16 of {@code value}, ties to even, as torch rounds. */
    public static short toBfloat16(float value) {
        if (Float.isNaN(value)) {
            return (short) 0x7fc0;
        }
        int bits = Float.floatToRawIntBits(value);
        return (short) ((bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16);
    }

    /** The value of an IEEE half. */
    static float halfToFloat(short half) {
        int exponent = (half >>> 10) & 0x1f;
        int fraction = half & 0x3ff;
        float magnitude;
        if (exponent == 0x1f) {
            magnitude = fraction == 0 ? Float.POSITIVE_INFINITY : Float.NaN;
        } else if (exponent == 0) {
            magnitude = fraction * 0x1p-24f;
        } else {
            magnitude = Float.intBitsToFloat(((exponent + 112) << 23) | (fraction << 13));
        }
        return half < 0 ? -magnitude : magnitude;
    }
}
