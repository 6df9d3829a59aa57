package ulysses.runtime.attention;

import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.memory.TensorScope;

/**
 * A kernel called for some heads after the others where the sequence is long: what a kernel needs beside its inputs and results (the
 * backward of those for CUDA takes float32 sums of the size of q, and k and v once for each query head) is then that of a few heads.
 * Heads know nothing of each other, so the numbers are the same. For kernels whose logsumexp is [n,S].
 *
 * @param elements of q that one call may take; one kv head with its query heads goes in any case
 */
record HeadsInTurn(CoreAttention kernel, long elements) implements CoreAttention {

    /** kv heads {@code first} to {@code first + count} and the query heads that use them. */
    private record Heads(long first, long count, long queriesEach) {

        Qkv of(Qkv qkv) {
            return new Qkv(queries(qkv.q()), keys(qkv.k()), keys(qkv.v()));
        }

        Output of(Output output) {
            return new Output(
                    queries(output.out()), logsumexp(output.logsumexp()).contiguous());
        }

        Tensor queries(Tensor x) {
            return x.narrow(1, first * queriesEach, count * queriesEach);
        }

        Tensor keys(Tensor x) {
            return x.narrow(1, first, count);
        }

        Tensor logsumexp(Tensor x) {
            return x.narrow(0, first * queriesEach, count * queriesEach);
        }
    }

    private interface Work {
        void on(Heads heads);
    }

    @Override
    public Output forward(Qkv qkv, SequenceLayout layout) {
        if (qkv.q().numel() <= elements) {
            return kernel.forward(qkv, layout);
        }
        try (TensorScope scope = TensorScope.open()) {
            Tensor q = qkv.q();
            Tensor out = torch.empty_like(q);
            TensorOptions float32 = q.options().dtype(new ScalarTypeOptional(torch.ScalarType.Float));
            Tensor logsumexp = torch.empty(new long[] {q.size(1), q.size(0)}, float32, null);
            inTurn(qkv, heads -> {
                Output part = kernel.forward(heads.of(qkv), layout);
                heads.queries(out).copy_(part.out());
                heads.logsumexp(logsumexp).copy_(part.logsumexp());
            });
            return new Output(scope.keep(out), scope.keep(logsumexp));
        }
    }

    @Override
    public Qkv backward(Tensor dOut, Qkv qkv, Output output, SequenceLayout layout) {
        if (qkv.q().numel() <= elements) {
            return kernel.backward(dOut, qkv, output, layout);
        }
        try (TensorScope scope = TensorScope.open()) {
            Qkv gradients = new Qkv(torch.empty_like(qkv.q()), torch.empty_like(qkv.k()), torch.empty_like(qkv.v()));
            inTurn(qkv, heads -> {
                Qkv part = kernel.backward(heads.queries(dOut), heads.of(qkv), heads.of(output), layout);
                Qkv here = heads.of(gradients);
                here.q().copy_(part.q());
                here.k().copy_(part.k());
                here.v().copy_(part.v());
            });
            return gradients.kept(scope);
        }
    }

    private void inTurn(Qkv qkv, Work work) {
        long kvHeads = qkv.k().size(1);
        long perHead = qkv.q().numel() / kvHeads;
        long count = Math.max(1, elements / perHead);
        for (long first = 0; first < kvHeads; first += count) {
            try (TensorScope scope = TensorScope.open()) {
                work.on(new Heads(
                        first, Math.min(count, kvHeads - first), qkv.q().size(1) / kvHeads));
            }
        }
    }
}
