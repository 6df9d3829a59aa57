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

    /** The nearest IEEE half of {@code value}, ties to even; infinity beyond 65504. */
    public static short toHalf(float value) {
        int bits = Float.floatToRawIntBits(value);
        int sign = (bits >>> 16) & 0x8000;
        int magnitude = bits & 0x7fffffff;
        if (magnitude > 0x7f800000) {
            return (short) (sign | 0x7e00);
        }
        if (magnitude >= 0x477ff000) { // 65520, halfway to the first power of two that is too large
            return (short) (sign | 0x7c00);
        }
        if (magnitude < 0x38800000) { // below 2^-14: a multiple of 2^-24
            return (short) (sign | (int) Math.rint(Float.intBitsToFloat(magnitude) * 0x1p24));
        }
        int rounded = magnitude + 0xfff + ((magnitude >>> 13) & 1);
        return (short) (sign | ((rounded - 0x38000000) >>> 13));
    }

    /** {@code value} as an element of {@code type}, which is a float type that is not wider than float32, holds it. */
    public static float rounded(DataType type, float value) {
        return switch (type) {
            case F32 -> value;
            case BF16 -> Float.intBitsToFloat(toBfloat16(value) << 16);
            case F16 -> halfToFloat(toHalf(value));
            case F64, I64, I32, I16, I8, U8, BOOL ->
                throw new IllegalArgumentException("float32 is not rounded to %s".formatted(type));
        };
    }

    /**
     * Narrows the float32 values between position and limit of {@code source} to {@code type}, and puts them at the position of {@code
     * into}; both positions move.
     */
    public static void narrow(DataType type, ByteBuffer source, ByteBuffer into) {
        ByteBuffer from = source.order(ByteOrder.LITTLE_ENDIAN);
        ByteBuffer to = into.order(ByteOrder.LITTLE_ENDIAN);
        while (from.hasRemaining()) {
            float value = from.getFloat();
            switch (type) {
                case F32 -> to.putFloat(value);
                case BF16 -> to.putShort(toBfloat16(value));
                case F16 -> to.putShort(toHalf(value));
                case F64, I64, I32, I16, I8, U8, BOOL ->
                    throw new IllegalArgumentException("float32 is not narrowed to %s".formatted(type));
            }
        }
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
