package ulysses.runtime.attention;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.memory.AtenOperator;
import ulysses.runtime.memory.TensorScope;

/**
 * FlashAttention-2 for CUDA over packed documents ({@code cu_seqlens}) with its own window; bfloat16 only, as the kernel is. Its
 * layout [S,n,H] is ours, so nothing is copied.
 */
final class CudaFlashAttention implements CoreAttention {

    private static final AtenOperator FORWARD = AtenOperator.named("_flash_attention_forward");
    private static final AtenOperator BACKWARD = AtenOperator.named("_flash_attention_backward");

    private final int window;

    /** {@code window} keys a query sees, itself included; 0 means all before it. */
    CudaFlashAttention(int window) {
        this.window = window;
    }

    @Override
    public Output forward(Qkv qkv, SequenceLayout layout) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor ends = documentEnds(layout, qkv.q());
            long longest = layout.longest();
            Tensor[] result = FORWARD.call(
                    qkv.q(),
                    qkv.k(),
                    qkv.v(),
                    ends,
                    ends,
                    longest,
                    longest,
                    0.0,
                    true,
                    false,
                    null,
                    windowLeft(),
                    window == 0 ? null : 0L,
                    null,
                    null,
                    null,
                    null);
            return new Output(scope.keep(result[0]), scope.keep(result[1]));
        }
    }

    @Override
    public Qkv backward(Tensor dOut, Qkv qkv, Output output, SequenceLayout layout) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor ends = documentEnds(layout, qkv.q());
            long longest = layout.longest();
            Tensor noRandomState =
                    torch.zeros(new long[] {2}, ends.options()).to(torch.ScalarType.Long); // unused without dropout
            Tensor[] result = BACKWARD.call(
                    dOut.contiguous(),
                    qkv.q(),
                    qkv.k(),
                    qkv.v(),
                    output.out(),
                    output.logsumexp(),
                    ends,
                    ends,
                    longest,
                    longest,
                    0.0,
                    true,
                    noRandomState,
                    noRandomState,
                    null,
                    windowLeft(),
                    window == 0 ? null : 0L);
            return new Qkv(result[0], result[1], result[2]).kept(scope);
        }
    }

    private @Nullable Long windowLeft() {
        return window == 0 ? null : (long) window - 1;
    }

    /** What the kernels call cu_seqlens: int32, on the device of {@code like}. */
    static Tensor documentEnds(SequenceLayout layout, Tensor like) {
        return torch.tensor(layout.documentEnds()).to(like.device(), torch.ScalarType.Int);
    }
}
