package ulysses.runtime.memory;

import java.util.Random;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** Fixture: float64 tensors from arrays and back. */
public final class TensorArrays {
    private TensorArrays() {}

    /** A float64 tensor of this shape; it belongs to the innermost scope. */
    public static Tensor tensor(double[] values, long... shape) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor tensor = torch.zeros(new long[] {values.length}).to(torch.ScalarType.Double);
            new DoublePointer(tensor.data_ptr()).put(values);
            return scope.keep(tensor.view(shape));
        }
    }

    /** Standard normal numbers, float64. */
    public static Tensor gaussian(Random random, long... shape) {
        long elements = 1;
        for (long axis : shape) {
            elements *= axis;
        }
        return tensor(
                random.doubles(elements).map(ignored -> random.nextGaussian()).toArray(), shape);
    }

    /** All elements in order, from any float or integer type. */
    public static double[] values(Tensor tensor) {
        try (TensorScope scope = TensorScope.open()) {
            double[] values = new double[Math.toIntExact(tensor.numel())];
            Tensor doubles = tensor.detach().to(torch.ScalarType.Double).contiguous();
            new DoublePointer(doubles.data_ptr()).get(values);
            return values;
        }
    }

    /**
     * Norm of the difference over the norm of {@code expected}, in float64; where all of {@code expected} is 0, the root
     * mean square of {@code actual}.
     */
    public static double relative(Tensor actual, Tensor expected) {
        return relative(values(actual), values(expected));
    }

    /** As {@link #relative(Tensor, Tensor)}. */
    public static double relative(double[] actual, double[] expected) {
        if (actual.length != expected.length) {
            throw new AssertionError("%d elements instead of %d".formatted(actual.length, expected.length));
        }
        double difference = 0;
        double size = 0;
        for (int i = 0; i < actual.length; i++) {
            difference += Math.pow(actual[i] - expected[i], 2);
            size += Math.pow(expected[i], 2);
        }
        return Math.sqrt(difference / (size == 0 ? expected.length : size));
    }

    /** Sum of the products of all elements, in float64. */
    public static double innerProduct(Tensor a, Tensor b) {
        double[] left = values(a);
        double[] right = values(b);
        double sum = 0;
        for (int i = 0; i < left.length; i++) {
            sum += left[i] * right[i];
        }
        return sum;
    }
}
