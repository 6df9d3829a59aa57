package ulysses.runtime.gradient;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorScope;

/**
 * Sums over all elements of a tensor, in float64. libtorch widens what it sums in one call, twice the bytes of a float32 tensor;
 * here piece by piece, so that the embedding's gradient, often the largest tensor of a model, needs no second place twice its size.
 */
final class WideSum {

    /** Elements widened at a time: 8 MiB in float64. */
    static final long PIECE_ELEMENTS = 1L << 20;

    private WideSum() {}

    /** Sum of squares of {@code values}, of any shape and floating dtype. */
    static double ofSquares(Tensor values) {
        return ofPowers(values, 2);
    }

    /** Sum of absolute values of {@code values}, of any shape and floating dtype. */
    static double ofAbsolutes(Tensor values) {
        return ofPowers(values, 1);
    }

    private static double ofPowers(Tensor values, int power) {
        try (TensorScope scope = TensorScope.open()) {
            ScalarOptional order = new ScalarOptional(new Scalar((double) power));
            Tensor flat = values.reshape(-1);
            Tensor sum = torch.zeros(new long[] {}).to(values.device(), torch.ScalarType.Double);
            for (long first = 0; first < flat.numel(); first += PIECE_ELEMENTS) {
                try (TensorScope piece = TensorScope.open()) {
                    long elements = Math.min(PIECE_ELEMENTS, flat.numel() - first);
                    Tensor norm = flat.narrow(0, first, elements).norm(order, torch.ScalarType.Double);
                    sum.add_(norm.pow(new Scalar((double) power)));
                }
            }
            return sum.item_double();
        }
    }
}
