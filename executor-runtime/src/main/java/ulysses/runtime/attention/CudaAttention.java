package ulysses.runtime.attention;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;

/**
 * Attention on CUDA by the fastest kernel that computes what is asked: in float32 the memory-efficient one, in bfloat16 cuDNN's for
 * long whole documents and FlashAttention-2 for all else. The choice depends on dtype and layout alone, so backward finds the kernel
 * of its forward.
 */
final class CudaAttention implements CoreAttention {

    /**
     * Mean length of the documents from which cuDNN pays: on an H100 it takes 0.6 of FlashAttention-2's time at 8 K and 32 K tokens,
     * but makes a plan for each new length first.
     */
    private static final int CUDNN_MEAN_LENGTH = 8192;

    private final CoreAttention flash;
    private final CoreAttention efficient;
    private final CoreAttention cudnn = new CudnnAttention();
    private final int window;

    /** {@code window} keys a query sees, itself included; 0 means all before it. */
    CudaAttention(int window) {
        this.window = window;
        this.flash = new CudaFlashAttention(window);
        this.efficient = new CudaEfficientAttention(window);
    }

    @Override
    public Output forward(Qkv qkv, SequenceLayout layout) {
        return kernel(qkv.q(), layout).forward(qkv, layout);
    }

    @Override
    public Qkv backward(Tensor dOut, Qkv qkv, Output output, SequenceLayout layout) {
        return kernel(qkv.q(), layout).backward(dOut, qkv, output, layout);
    }

    private CoreAttention kernel(Tensor q, SequenceLayout layout) {
        if (q.scalar_type().value == torch.ScalarType.Float.value) { // native code makes enum objects of its own
            return efficient;
        }
        boolean longDocuments = layout.length() >= (long) CUDNN_MEAN_LENGTH * layout.documents();
        return window == 0 && longDocuments && CudnnAttention.isAvailable() ? cudnn : flash;
    }
}
