package ulysses.runtime.attention;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.config.AttentionPattern;

/**
 * Attention on CUDA: FlashAttention-2 in bfloat16, the memory-efficient kernel in float32. The choice depends on the dtype alone, so
 * backward finds the kernel of its forward.
 */
final class CudaAttention implements CoreAttention {

    private final CoreAttention flash;
    private final CoreAttention efficient;

    /** Dense or a sliding window; anything else is refused. */
    CudaAttention(AttentionPattern pattern) {
        if (!pattern.isPlainWindow()) {
            throw new IllegalArgumentException(AttentionPattern.CPU_ONLY);
        }
        int window = pattern.localBlocks();
        this.flash = new CudaFlashAttention(window);
        this.efficient = new CudaEfficientAttention(window);
    }

    @Override
    public Output forward(Qkv qkv, SequenceLayout layout) {
        return kernel(qkv.q()).forward(qkv, layout);
    }

    @Override
    public Qkv backward(Tensor dOut, Qkv qkv, Output output, SequenceLayout layout) {
        return kernel(qkv.q()).backward(dOut, qkv, output, layout);
    }

    private CoreAttention kernel(Tensor q) {
        boolean exact =
                q.scalar_type().value == torch.ScalarType.Float.value; // native code makes enum objects of its own
        return exact ? efficient : flash;
    }
}
