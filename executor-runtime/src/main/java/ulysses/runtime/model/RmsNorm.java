package ulysses.runtime.model;

import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.segment.Parameter;

/** x / sqrt(mean(x²) + eps) · weight over the last axis; statistics in float32 (Zhang and Sennrich, arXiv:1910.07467). */
record RmsNorm(Parameter weight, double epsilon) {

    Tensor apply(Tensor x) {
        Tensor scale = weight.value();
        return torch.rms_norm(x, new long[] {scale.size(0)}, new TensorOptional(scale), new DoubleOptional(epsilon));
    }
}
