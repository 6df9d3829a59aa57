package ulysses.runtime.weights;

import java.util.Arrays;

/** Arithmetic on tensor shapes. */
final class Shapes {
    private Shapes() {}

    /** Product of {@code shape}, 1 for a scalar; {@link ArithmeticException} when it does not fit into a long. */
    static long elements(long[] shape) {
        long product = 1;
        for (long length : shape) {
            if (length < 0) {
                throw new IllegalArgumentException("negative length in shape " + Arrays.toString(shape));
            }
            product = Math.multiplyExact(product, length);
        }
        return product;
    }
}
