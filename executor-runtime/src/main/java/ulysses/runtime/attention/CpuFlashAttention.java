package ulysses.runtime.attention;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.memory.AtenOperator;
import ulysses.runtime.memory.TensorScope;

/**
 * The flash kernel for CPU, called document by document; with a window, block of queries by block of queries, so that the work
 * grows with S times the window. The kernel reads grouped kv heads itself (tried: kv gradients come back summed).
 */
final class CpuFlashAttention implements CoreAttention {

    /** Fewest and most queries of one windowed call, chosen, not tuned: few drown in calls, many pay for masked keys. */
    private static final int SMALLEST_BLOCK = 128;

    private static final int LARGEST_BLOCK = 512;

    private static final AtenOperator FORWARD = AtenOperator.named("_scaled_dot_product_flash_attention_for_cpu");
    private static final AtenOperator BACKWARD =
            AtenOperator.named("_scaled_dot_product_flash_attention_for_cpu_backward");

    private final int window;

    /** {@code window} keys a query sees, itself included; 0 means all before it. */
    CpuFlashAttention(int window) {
        this.window = window;
    }

    /** Queries [start, start + queries) over keys [keyStart, start + queries): one call of the kernel. */
    private record Block(int start, int queries, int keyStart) {
        int keys() {
            return start + queries - keyStart;
        }

        boolean isCausal() {
            return keyStart == start;
        }
    }

    @Override
    public Output forward(Qkv qkv, SequenceLayout layout) {
        try (TensorScope scope = TensorScope.open()) {
            TensorVector outs = new TensorVector();
            TensorVector logsumexps = new TensorVector();
            for (Block block : blocks(layout)) {
                try (TensorScope inner = TensorScope.open()) {
                    Tensor[] result = FORWARD.call(
                            queries(qkv.q(), block),
                            keys(qkv.k(), block),
                            keys(qkv.v(), block),
                            0.0,
                            needsNoMask(block),
                            mask(block, qkv.q()),
                            null);
                    outs.push_back(result[0].squeeze(0).transpose(0, 1)); // [queries,n,H]
                    logsumexps.push_back(result[1].squeeze(0)); // [n,queries]
                }
            }
            return new Output(scope.keep(joined(outs, 0).contiguous()), scope.keep(joined(logsumexps, 1)));
        }
    }

    /**
     * The kernel's backward deals kv heads to threads: 3 of them keep one of two threads waiting for a third of the time. Copies, a
     * query head each, are dealt more evenly, and their gradients summed.
     */
    @Override
    public Qkv backward(Tensor dOut, Qkv qkv, Output output, SequenceLayout layout) {
        long queryHeads = qkv.q().size(1);
        long kvHeads = qkv.k().size(1);
        int threads = torch.get_num_threads();
        long busiest = (kvHeads + threads - 1) / threads * (queryHeads / kvHeads);
        if (busiest <= (queryHeads + threads - 1) / threads) {
            return kernelBackward(dOut, qkv, output, layout);
        }
        try (TensorScope scope = TensorScope.open()) {
            Tensor k = KvCopies.repeated(qkv.k(), qkv.q());
            Tensor v = KvCopies.repeated(qkv.v(), qkv.q());
            Qkv gradients = kernelBackward(dOut, new Qkv(qkv.q(), k, v), output, layout);
            return new Qkv(
                    scope.keep(gradients.q()),
                    scope.keep(KvCopies.summed(gradients.k(), qkv.k())),
                    scope.keep(KvCopies.summed(gradients.v(), qkv.v())));
        }
    }

    private Qkv kernelBackward(Tensor dOut, Qkv qkv, Output output, SequenceLayout layout) {
        try (TensorScope scope = TensorScope.open()) {
            Qkv gradients = new Qkv(
                    torch.empty_like(qkv.q()).contiguous(),
                    torch.zeros_like(qkv.k()).contiguous(),
                    torch.zeros_like(qkv.v()).contiguous());
            for (Block block : blocks(layout)) {
                try (TensorScope inner = TensorScope.open()) {
                    Tensor[] result = BACKWARD.call(
                            queries(dOut, block),
                            queries(qkv.q(), block),
                            keys(qkv.k(), block),
                            keys(qkv.v(), block),
                            queries(output.out(), block),
                            output.logsumexp()
                                    .narrow(1, block.start(), block.queries())
                                    .contiguous()
                                    .unsqueeze(0),
                            0.0,
                            needsNoMask(block),
                            mask(block, qkv.q()),
                            null);
                    queries(gradients.q(), block).copy_(result[0]);
                    keys(gradients.k(), block).add_(result[1]);
                    keys(gradients.v(), block).add_(result[2]);
                }
            }
            return new Qkv(scope.keep(gradients.q()), scope.keep(gradients.k()), scope.keep(gradients.v()));
        }
    }

    private List<Block> blocks(SequenceLayout layout) {
        List<Block> blocks = new ArrayList<>();
        for (int d = 0; d < layout.documents(); d++) {
            int start = layout.start(d);
            int length = layout.length(d);
            if (window == 0 || length <= window) {
                blocks.add(new Block(start, length, start));
                continue;
            }
            int step = Math.max(SMALLEST_BLOCK, Math.min(window, LARGEST_BLOCK));
            for (int first = start; first < start + length; first += step) {
                int queries = Math.min(step, start + length - first);
                blocks.add(new Block(first, queries, Math.max(start, first - window + 1)));
            }
        }
        return blocks;
    }

    private boolean needsNoMask(Block block) {
        return block.isCausal() && (window == 0 || block.queries() <= window);
    }

    /** 0 where query i of the block sees key j, else -inf, [queries, keys]; null where plain causal masking does. */
    private @Nullable Tensor mask(Block block, Tensor like) {
        if (needsNoMask(block)) {
            return null;
        }
        int shift = block.start() - block.keyStart();
        Tensor hidden = torch.full(
                new long[] {block.queries(), block.keys()}, new Scalar(Double.NEGATIVE_INFINITY), like.options());
        return hidden.triu(shift + 1L).add_(hidden.tril(shift - (long) window)); // future, and too far back
    }

    private static Tensor queries(Tensor x, Block block) {
        return x.narrow(0, block.start(), block.queries()).transpose(0, 1).unsqueeze(0); // [1,n,queries,H]
    }

    private static Tensor keys(Tensor x, Block block) {
        return x.narrow(0, block.keyStart(), block.keys()).transpose(0, 1).unsqueeze(0); // [1,k,keys,H]
    }

    private static Tensor joined(TensorVector parts, long axis) {
        return parts.size() == 1 ? new Tensor(parts.get(0)) : torch.cat(parts, axis);
    }
}
