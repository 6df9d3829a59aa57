package ulysses.runtime.attention;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.memory.AtenOperator;
import ulysses.runtime.memory.TensorScope;

/**
 * The memory-efficient kernel (Rabe and Staats, arXiv:2112.05682, as libtorch took it from xFormers) over packed documents: float32
 * on CUDA, which FlashAttention-2 does not compute. It knows no grouped heads, so k and v are repeated and their gradients summed.
 */
final class CudaEfficientAttention implements CoreAttention {

    private static final AtenOperator FORWARD = AtenOperator.named("_efficient_attention_forward");
    private static final AtenOperator BACKWARD = AtenOperator.named("_efficient_attention_backward");

    /** The kernel's name for a causal mask that starts at the first query and key of each document. */
    private static final long CAUSAL_FROM_TOP_LEFT = 1;

    private final @Nullable Long window;

    /** {@code window} keys a query sees, itself included; 0 means all before it. */
    CudaEfficientAttention(int window) {
        this.window = window == 0 ? null : (long) window;
    }

    @Override
    public Output forward(Qkv qkv, SequenceLayout layout) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor ends = CudaFlashAttention.documentEnds(layout, qkv.q());
            long longest = layout.longest();
            Tensor[] result = FORWARD.call(
                    qkv.q().unsqueeze(0),
                    KvCopies.repeated(qkv.k(), qkv.q()).unsqueeze(0),
                    KvCopies.repeated(qkv.v(), qkv.q()).unsqueeze(0),
                    null,
                    ends,
                    ends,
                    longest,
                    longest,
                    0.0,
                    CAUSAL_FROM_TOP_LEFT,
                    true,
                    null,
                    null,
                    window);
            return new Output(scope.keep(result[0].squeeze(0)), scope.keep(result[1]));
        }
    }

    @Override
    public Qkv backward(Tensor dOut, Qkv qkv, Output output, SequenceLayout layout) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor ends = CudaFlashAttention.documentEnds(layout, qkv.q());
            long longest = layout.longest();
            Tensor noRandomState = torch.zeros(new long[] {}).to(torch.ScalarType.Long); // unused without dropout
            Tensor[] result = BACKWARD.call(
                    dOut.contiguous().unsqueeze(0),
                    qkv.q().unsqueeze(0),
                    KvCopies.repeated(qkv.k(), qkv.q()).unsqueeze(0),
                    KvCopies.repeated(qkv.v(), qkv.q()).unsqueeze(0),
                    null,
                    output.out().unsqueeze(0),
                    ends,
                    ends,
                    longest,
                    longest,
                    output.logsumexp(),
                    0.0,
                    noRandomState,
                    noRandomState,
                    CAUSAL_FROM_TOP_LEFT,
                    false,
                    null,
                    null,
                    window,
                    false);
            return new Qkv(
                    scope.keep(result[0].squeeze(0)),
                    scope.keep(KvCopies.summed(result[1].squeeze(0), qkv.k())),
                    scope.keep(KvCopies.summed(result[2].squeeze(0), qkv.v())));
        }
    }
}
