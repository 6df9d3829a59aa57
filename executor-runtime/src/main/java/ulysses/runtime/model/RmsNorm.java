package ulysses.runtime.model;

import java.util.List;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.LocalSegment;
import ulysses.runtime.segment.Parameter;

/** x / sqrt(mean(x²) + eps) · weight over the last axis; statistics in float32 (Zhang and Sennrich, arXiv:1910.07467). */
record RmsNorm(Parameter weight, double epsilon) {

    Tensor apply(Tensor x) {
        Tensor scale = weight.value();
        return torch.rms_norm(x, new long[] {scale.size(0)}, new TensorOptional(scale), new DoubleOptional(epsilon));
    }

    /**
     * Gradient of {@code x} from that of the result, in the caller's scope; that of the weight is accumulated. In float32 by hand, in
     * a third of the passes that autograd makes over memory; in bfloat16 by autograd, which computes in float32 there.
     */
    Tensor backward(Tensor x, Tensor dOutput) {
        if (x.scalar_type().value == torch.ScalarType.Float.value) { // native code makes enum objects of its own
            return byHand(x, dOutput);
        }
        LocalSegment local = new LocalSegment(List.of(weight), inputs -> new Tensor[] {apply(inputs[0])});
        try (LocalSegment.Graph graph = local.record(x)) {
            return graph.backward(dOutput)[0];
        }
    }

    /** With x̂ = x / rms(x): dx = (dy w - x̂ mean(dy w x̂)) / rms(x), dw = sum of dy x̂ over tokens. */
    private Tensor byHand(Tensor x, Tensor dOutput) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor scale = weight.value().detach(); // [D]
            long width = scale.size(0);
            Tensor inverse = x.square()
                    .mean(new long[] {-1}, true, null)
                    .add_(new Scalar(epsilon))
                    .rsqrt_();
            Tensor normed = x.mul(inverse);
            Tensor product = dOutput.mul(normed);
            if (weight.isTrained()) {
                weight.accumulate(product.view(-1, width).sum(0));
            }
            Tensor mean = torch.matmul(product, scale)
                    .div_(new Scalar((double) -width))
                    .unsqueeze(-1);
            return scope.keep(dOutput.mul(scale).addcmul_(normed, mean).mul_(inverse));
        }
    }
}
