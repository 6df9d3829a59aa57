package ulysses.runtime.attention;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.HeadSequenceExchange.Arriving;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.HeadLayout;
import ulysses.runtime.segment.PhaseClock;
import ulysses.runtime.segment.PhaseClock.Phase;

/**
 * Attention over a sequence that is split over the ranks of a group: exchange, core attention, exchange (DeepSpeed-Ulysses,
 * arXiv:2309.14509, section 3). Collective: all ranks of the group call the same methods in the same order.
 */
public final class UlyssesAttention {

    private final HeadSequenceExchange exchange;
    private final CoreAttention core;
    private final LocalHeads localHeads;
    private final PhaseClock clock;

    /** {@code core} between the moves of {@code exchange}; {@code clock} is told the time of both. */
    public UlyssesAttention(HeadSequenceExchange exchange, CoreAttention core, PhaseClock clock) {
        this.clock = clock;
        this.exchange = exchange;
        this.core = core;
        this.localHeads = LocalHeads.of(exchange.heads(), exchange.rank());
    }

    /** Whether {@link #sendValues} is worth its message. */
    public boolean overlaps() {
        return exchange.overlaps();
    }

    /** Output of this rank's part, and what backward needs of the core attention over all parts. */
    public record Forward(Tensor output, CoreAttention.Output core) {}

    /**
     * Head scatter: q [s,N,H], k and v [s,K,H] of this rank's part to those of all parts for this rank's heads, as the core attention
     * takes them. The result belongs to the caller's scope.
     */
    public Qkv exchange(Qkv local) {
        try (TensorScope scope = TensorScope.open();
                PhaseClock.Span time = clock.start(Phase.EXCHANGE)) {
            return localHeads.spread(exchange.scatterHeads(local)).kept(scope); // [S,n,H], [S,k,H]
        }
    }

    /** Begins to exchange v [s,K,H], which goes on while q and k are made. */
    public Arriving sendValues(Tensor v) {
        try (PhaseClock.Span time = clock.start(Phase.EXCHANGE)) {
            return exchange.sendValues(v);
        }
    }

    /** What {@link #exchange(Qkv)} gives, with v on its way already. */
    public Qkv exchange(Tensor q, Tensor k, Arriving v) {
        try (TensorScope scope = TensorScope.open();
                PhaseClock.Span time = clock.start(Phase.EXCHANGE)) {
            return localHeads.spread(exchange.scatterHeads(q, k, v)).kept(scope); // [S,n,H], [S,k,H]
        }
    }

    /** What {@link #exchange} gave to [s,N,H]; everything in the result belongs to the caller's scope. */
    public Forward forward(Qkv exchanged, SequenceLayout layout) {
        try (TensorScope scope = TensorScope.open()) {
            CoreAttention.Output result; // [S,n,H]
            try (PhaseClock.Span time = clock.start(Phase.ATTENTION)) {
                result = core.forward(exchanged, layout);
            }
            Tensor output = outputAgain(result); // [s,N,H]
            scope.keep(result.out());
            scope.keep(result.logsumexp());
            return new Forward(scope.keep(output), result);
        }
    }

    /** The output of {@link #forward} once more from what was kept of it, [s,N,H]; belongs to the caller's scope. */
    public Tensor outputAgain(CoreAttention.Output core) {
        try (PhaseClock.Span time = clock.start(Phase.EXCHANGE)) {
            return exchange.gatherOutputHeads(core.out());
        }
    }

    /** Begins to bring the gradient of the output [s,N,H] to this rank's heads; {@link #backward} goes on with it. */
    public Arriving sendOutputGradient(Tensor dOutput) {
        try (PhaseClock.Span time = clock.start(Phase.EXCHANGE)) {
            return exchange.sendOutputGradient(dOutput);
        }
    }

    /**
     * Gradients of q, k and v of all parts for this rank's heads; {@code dOut} is that of the output, {@code exchanged} is what
     * forward was given. The result belongs to the caller's scope.
     */
    public Qkv backward(Arriving dOut, Qkv exchanged, CoreAttention.Output output, SequenceLayout layout) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor dHeads; // [S,n,H]
            try (PhaseClock.Span time = clock.start(Phase.EXCHANGE)) {
                dHeads = dOut.await();
            }
            try (PhaseClock.Span time = clock.start(Phase.ATTENTION)) {
                return localHeads
                        .gather(core.backward(dHeads, exchanged, output, layout))
                        .kept(scope);
            }
        }
    }

    /** Backward of {@link #exchange(Qkv)}: what {@link #backward} gave to [s,N,H], [s,K,H] in the caller's scope; use the former no more. */
    public Qkv exchangeBackward(Qkv gradients) {
        try (TensorScope scope = TensorScope.open();
                PhaseClock.Span time = clock.start(Phase.EXCHANGE)) {
            return exchange.gatherHeadGradients(gradients).kept(scope);
        }
    }

    /**
     * Kernels expect local query head j to read local kv head j * k / n. Where a rank's heads cut a group unevenly, each query head
     * gets its own copy of its kv head and the gradients of the copies are summed.
     */
    private record LocalHeads(boolean grouped, List<Integer> kvOfQueries, int kvs) {

        static LocalHeads of(HeadLayout heads, int rank) {
            return new LocalHeads(heads.isGrouped(rank), heads.kvOfQueries(rank), heads.kvs(rank));
        }

        Qkv spread(Qkv global) {
            if (grouped) {
                return global;
            }
            Tensor index = indexOn(global.k());
            return new Qkv(
                    global.q(), global.k().index_select(1, index), global.v().index_select(1, index));
        }

        Qkv gather(Qkv gradients) {
            if (grouped) {
                return gradients;
            }
            return new Qkv(gradients.q(), summed(gradients.k()), summed(gradients.v()));
        }

        private Tensor summed(Tensor copies) {
            long[] shape = {copies.size(0), kvs, copies.size(2)};
            return torch.zeros(shape, copies.options()).index_add_(1, indexOn(copies), copies); // [S,k,H]
        }

        /** The local kv head of each local query head, int64 [n], where {@code tensor} is. */
        private Tensor indexOn(Tensor tensor) {
            return torch.tensor(
                            kvOfQueries.stream().mapToLong(Integer::longValue).toArray())
                    .to(tensor.device(), torch.ScalarType.Long);
        }
    }
}
