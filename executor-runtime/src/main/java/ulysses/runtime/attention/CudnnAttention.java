package ulysses.runtime.attention;

import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.memory.AtenOperator;
import ulysses.runtime.memory.TensorScope;

/**
 * cuDNN's kernel for CUDA over a single document: dense and causal, in bfloat16. On Hopper it takes 0.6 of the time of
 * FlashAttention-2, but it prepares itself anew for every length, so it is for long documents. Its own form for packed documents gives
 * gradients that are not finite (cuDNN 9.25 under libtorch 2.13) and is not used.
 */
final class CudnnAttention implements CoreAttention {

    private static final Logger LOG = LoggerFactory.getLogger(CudnnAttention.class);

    private static final AtenOperator FORWARD = AtenOperator.named("_cudnn_attention_forward");
    private static final AtenOperator BACKWARD = AtenOperator.named("_cudnn_attention_backward");

    /** Compute capability of Hopper: on older GPUs FlashAttention-2 is as near to the peak. */
    private static final int HOPPER = 9;

    /** Whether this machine's GPU gains by it and its cuDNN does what libtorch asks of it; found out once. */
    private static final class Trial {
        static final boolean PASSED = isForThisGpu() && passes();

        private static boolean isForThisGpu() {
            try (IntPointer major = new IntPointer(1)) {
                int status = cudart.cudaDeviceGetAttribute(major, cudart.cudaDevAttrComputeCapabilityMajor, 0);
                return status == cudart.cudaSuccess && major.get() >= HOPPER;
            }
        }

        private static boolean passes() {
            try (TensorScope scope = TensorScope.open()) {
                SequenceLayout layout = new SequenceLayout(new int[] {0, 256});
                Qkv qkv = new Qkv(random(2), random(1), random(1));
                CoreAttention cudnn = new CudnnAttention();
                Output output = cudnn.forward(qkv, layout);
                Qkv gradients = cudnn.backward(qkv.q(), qkv, output, layout);
                return gradients.q().isfinite().all().item_bool();
            } catch (RuntimeException e) { // an older one refuses the backward
                String reason = String.valueOf(e.getMessage()).lines().limit(2).reduce("", (a, b) -> a + " " + b);
                LOG.info("FlashAttention-2 for all documents; cuDNN's kernel does not run here (9.25 does):{}", reason);
                return false;
            }
        }

        private static Tensor random(long heads) {
            return torch.randn(new long[] {256, heads, 64}).to(new Device("cuda:0"), torch.ScalarType.BFloat16);
        }
    }

    static boolean runsHere() {
        return Trial.PASSED;
    }

    @Override
    public Output forward(Qkv qkv, SequenceLayout layout) {
        try (TensorScope scope = TensorScope.open()) {
            long length = length(layout);
            Tensor[] result = FORWARD.call(
                    heads(qkv.q()),
                    heads(qkv.k()),
                    heads(qkv.v()),
                    null,
                    null,
                    null,
                    length,
                    length,
                    true,
                    0.0,
                    true,
                    false,
                    null);
            return new Output(
                    scope.keep(tokens(result[0])),
                    scope.keep(result[1].view(qkv.q().size(1), length)));
        }
    }

    @Override
    public Qkv backward(Tensor dOut, Qkv qkv, Output output, SequenceLayout layout) {
        try (TensorScope scope = TensorScope.open()) {
            long length = length(layout);
            Tensor noRandomState =
                    torch.zeros(new long[] {}).to(dOut.device(), torch.ScalarType.Long); // unused without dropout
            Tensor none = new Tensor();
            Tensor[] result = BACKWARD.call(
                    heads(dOut.contiguous()),
                    heads(qkv.q()),
                    heads(qkv.k()),
                    heads(qkv.v()),
                    heads(output.out()),
                    output.logsumexp().unsqueeze(0).unsqueeze(3), // [1,n,S,1]
                    noRandomState,
                    noRandomState,
                    none,
                    none,
                    none,
                    length,
                    length,
                    0.0,
                    true,
                    null);
            return new Qkv(tokens(result[0]), tokens(result[1]), tokens(result[2])).kept(scope);
        }
    }

    private static long length(SequenceLayout layout) {
        if (layout.documents() != 1) {
            throw new IllegalArgumentException("this kernel takes one document at a time, not " + layout.documents());
        }
        return layout.length();
    }

    /** [S,n,H] as the kernel wants it, [1,n,S,H]; a view. */
    private static Tensor heads(Tensor stream) {
        return stream.unsqueeze(0).transpose(1, 2);
    }

    /** [1,n,S,H] to [S,n,H]. */
    private static Tensor tokens(Tensor heads) {
        return heads.transpose(1, 2).squeeze(0).contiguous();
    }
}
