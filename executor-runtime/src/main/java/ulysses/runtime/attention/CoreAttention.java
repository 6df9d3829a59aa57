package ulysses.runtime.attention;

import org.bytedeco.pytorch.Tensor;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.ParallelConfig;

/**
 * Attention over the whole sequence for this rank's heads: {@code softmax(q kᵀ / √H) v}, where a query sees the keys up to its own
 * position, of its own document, and of its {@link AttentionPattern}. Forward keeps the logsumexp, so backward needs no second
 * forward (FlashAttention-2, arXiv:2307.08691).
 */
public sealed interface CoreAttention
        permits CpuFlashAttention,
                CudaAttention,
                CudaFlashAttention,
                CudnnAttention,
                CudaEfficientAttention,
                HeadsInTurn {

    /**
     * What forward gives and backward needs.
     *
     * @param out attention output [S,n,H], contiguous
     * @param logsumexp of each query's scores, float32; its shape is the kernel's affair
     */
    record Output(Tensor out, Tensor logsumexp) implements AutoCloseable {
        @Override
        public void close() {
            out.close();
            logsumexp.close();
        }
    }

    /** The kernels for {@code device}; throws {@link IllegalArgumentException} where it has none for {@code pattern}. */
    static CoreAttention on(ParallelConfig.Device device, AttentionPattern pattern) {
        return switch (device) {
            case CPU -> new CpuFlashAttention(pattern);
            case CUDA -> new CudaAttention(pattern);
        };
    }

    /** Forward over q [S,n,H], k and v [S,k,H]; the result belongs to the caller's scope. */
    Output forward(Qkv qkv, SequenceLayout layout);

    /** Gradients of q, k and v from {@code dOut} [S,n,H]; the result belongs to the caller's scope. */
    Qkv backward(Tensor dOut, Qkv qkv, Output output, SequenceLayout layout);
}
