package ulysses.runtime.attention;

import java.util.Arrays;
import java.util.List;
import java.util.function.IntUnaryOperator;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.Collectives.Pending;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.HeadLayout;

/**
 * The all-to-alls of Ulysses. Before attention each rank holds all heads of its part of the sequence, after it all of the sequence
 * for its part of the heads. Each move's backward is the other move, with kv heads that were copied to several ranks summed.
 * Collective: every rank of the group calls each method in the same order. Results belong to the caller's scope.
 */
public final class HeadSequenceExchange {

    private final HeadLayout heads;
    private final Collectives group;
    private final boolean overlaps;

    /**
     * For the heads of {@code heads} over the ranks of {@code group}.
     *
     * @param overlaps whether what is sent travels beside what is computed next; else sending waits until it is there
     */
    public HeadSequenceExchange(HeadLayout heads, Collectives group, boolean overlaps) {
        if (heads.ranks() != group.size()) {
            throw new IllegalArgumentException(
                    "heads are laid out for %d ranks, the group has %d".formatted(heads.ranks(), group.size()));
        }
        this.heads = heads;
        this.group = group;
        this.overlaps = overlaps;
    }

    HeadLayout heads() {
        return heads;
    }

    int rank() {
        return group.rank();
    }

    /** Whether it is worth to send one thing before another is made. */
    public boolean overlaps() {
        return overlaps && group.size() > 1;
    }

    /** q, k and v, or their gradients. */
    public record Qkv(Tensor q, Tensor k, Tensor v) {

        /** The same three, handed to the scope that encloses {@code scope}. */
        public Qkv kept(TensorScope scope) {
            return new Qkv(scope.keep(q), scope.keep(k), scope.keep(v));
        }
    }

    /** What is on its way. Closing waits for it if nobody did. */
    public interface Arriving extends AutoCloseable {

        /** What arrived, once; belongs to the caller's scope. */
        Tensor await();

        @Override
        void close();
    }

    /** Head scatter, sequence gather: q [s,N,H], k and v [s,K,H] to q [S,n,H], k and v [S,k,H], in one fused all-to-all. */
    public Qkv scatterHeads(Qkv local) {
        if (group.size() == 1) {
            return local;
        }
        try (TensorScope scope = TensorScope.open();
                Arriving all = send(List.of(query(local.q()), kv(local.k()), kv(local.v())))) {
            return split(all.await(), group.rank()).kept(scope);
        }
    }

    /** Begins to exchange v [s,K,H]: {@link #scatterHeads(Tensor, Tensor, Arriving)} ends it. */
    public Arriving sendValues(Tensor v) {
        return send(List.of(kv(v)));
    }

    /** The same as {@link #scatterHeads(Qkv)} where v has been sent before: q and k are exchanged while it is on its way. */
    public Qkv scatterHeads(Tensor q, Tensor k, Arriving v) {
        try (TensorScope scope = TensorScope.open();
                Arriving both = send(List.of(query(q), kv(k)))) {
            Tensor values = v.await();
            Tensor packed = both.await(); // [S, n + k, H]
            long n = heads.queries(group.rank());
            return new Qkv(packed.narrow(1, 0, n), packed.narrow(1, n, packed.size(1) - n), values).kept(scope);
        }
    }

    /**
     * Backward of {@link #scatterHeads}: gradients [S,n,H], [S,k,H] to [s,N,H], [s,K,H]; copies of a kv head are summed. With
     * more ranks than one, what it is given is freed as soon as it is packed, since the most memory of a layer is held here.
     */
    public Qkv gatherHeadGradients(Qkv global) {
        if (group.size() == 1) {
            return global;
        }
        try (TensorScope scope = TensorScope.open()) {
            long s = global.q().size(0) / group.size();
            long h = global.q().size(2);
            TensorOptions options = global.q().options();
            Tensor received;
            try (Tensor packed = packed(global)) { // [S, n + 2k, H]
                received = toSequence(packed, packedHeads());
            }
            Tensor dq = torch.empty(new long[] {s, heads.queryHeads(), h}, options, null); // [s,N,H]
            Tensor dk = torch.zeros(new long[] {s, heads.kvHeads(), h}, options); // [s,K,H]
            Tensor dv = torch.zeros(new long[] {s, heads.kvHeads(), h}, options); // [s,K,H]
            long offset = 0;
            for (int r = 0; r < group.size(); r++) {
                long width = heads.packed(r);
                Qkv part = split(received.narrow(0, offset, s * width * h).view(s, width, h), r);
                offset += s * width * h;
                dq.narrow(1, heads.firstQuery(r), heads.queries(r)).copy_(part.q());
                dk.narrow(1, heads.firstKv(r), heads.kvs(r)).add_(part.k());
                dv.narrow(1, heads.firstKv(r), heads.kvs(r)).add_(part.v());
            }
            return new Qkv(dq, dk, dv).kept(scope);
        }
    }

    private static Tensor packed(Qkv gradients) {
        try (Tensor q = gradients.q();
                Tensor k = gradients.k();
                Tensor v = gradients.v()) {
            return torch.cat(new TensorVector(q, k, v), 1);
        }
    }

    /** Sequence scatter, head gather: attention's output [S,n,H] to [s,N,H]. Its backward is {@link #scatterOutputGradient}. */
    public Tensor gatherOutputHeads(Tensor output) {
        if (group.size() == 1) {
            return new Tensor(output); // a handle of its own, so that scopes can tell it from the one kept for backward
        }
        try (TensorScope scope = TensorScope.open()) {
            Tensor received = toSequence(output.contiguous(), queryHeads());
            long s = output.size(0) / group.size();
            long h = output.size(2);
            Tensor local = torch.empty(new long[] {s, heads.queryHeads(), h}, output.options(), null); // [s,N,H]
            long offset = 0;
            for (int r = 0; r < group.size(); r++) {
                long width = heads.queries(r);
                Tensor part = received.narrow(0, offset, s * width * h).view(s, width, h); // [s,n,H]
                local.narrow(1, heads.firstQuery(r), width).copy_(part);
                offset += s * width * h;
            }
            return scope.keep(local);
        }
    }

    /** Backward of {@link #gatherOutputHeads}: [s,N,H] to [S,n,H]. */
    public Tensor scatterOutputGradient(Tensor dOutput) {
        if (group.size() == 1) {
            return dOutput;
        }
        try (Arriving gradient = sendOutputGradient(dOutput)) {
            return gradient.await();
        }
    }

    /** Begins {@link #scatterOutputGradient}. */
    public Arriving sendOutputGradient(Tensor dOutput) {
        return group.size() == 1 ? new Arrived(TensorScope.own(new Tensor(dOutput))) : send(List.of(query(dOutput)));
    }

    /** Heads of one kind on this rank's part of the sequence: {@code first} and {@code count} say which of them go to a rank. */
    private record Part(Tensor x, IntUnaryOperator first, IntUnaryOperator count) {
        Tensor of(int rank) {
            return x.narrow(1, first.applyAsInt(rank), count.applyAsInt(rank));
        }
    }

    private Part query(Tensor x) {
        return new Part(x, heads::firstQuery, heads::queries);
    }

    private Part kv(Tensor x) {
        return new Part(x, heads::firstKv, heads::kvs);
    }

    /**
     * Sends each rank its heads of all parts, joined along the heads: [S, heads of this rank, H] arrives. Parts of the sequence arrive
     * in order of ranks, so they need no copy.
     */
    private Arriving send(List<Part> parts) {
        try (TensorScope scope = TensorScope.open()) {
            TensorVector flat = new TensorVector();
            long[] widths = new long[group.size()];
            for (int r = 0; r < group.size(); r++) {
                TensorVector ofRank = new TensorVector();
                for (Part part : parts) {
                    ofRank.push_back(part.of(r));
                    widths[r] += part.count().applyAsInt(r);
                }
                flat.push_back(torch.cat(ofRank, 1).view(-1)); // [s, heads of the rank, H] flat
            }
            Tensor like = parts.get(0).x();
            long s = like.size(0);
            long h = like.size(2);
            long width = widths[group.rank()];
            Tensor received = torch.empty(new long[] {s * group.size(), width, h}, like.options(), null);
            Pending pending =
                    group.allToAll(received.view(-1), torch.cat(flat, 0), uniform(s * width * h), times(widths, s * h));
            if (!overlaps) {
                pending.await();
            }
            return new UnderWay(pending, TensorScope.own(received));
        }
    }

    private record Arrived(Tensor tensor) implements Arriving {

        @Override
        public Tensor await() {
            return new Tensor(tensor);
        }

        @Override
        public void close() {
            tensor.close();
        }
    }

    private record UnderWay(Pending pending, Tensor received) implements Arriving {

        @Override
        public Tensor await() {
            pending.await();
            return new Tensor(received);
        }

        @Override
        public void close() {
            try (Tensor last = received) {
                pending.close();
            }
        }
    }

    /** Sends part r of the sequence to rank r; blocks [s, heads of rank r, H] arrive behind each other, flat. */
    private Tensor toSequence(Tensor packed, long[] headsOfRanks) {
        long s = packed.size(0) / group.size();
        long h = packed.size(2);
        long[] arriving = times(headsOfRanks, s * h);
        long total = 0;
        for (long elements : arriving) {
            total += elements;
        }
        Tensor received = torch.empty(new long[] {total}, packed.options(), null);
        group.allToAll(received, packed.view(-1), arriving, uniform(s * packed.size(1) * h))
                .await();
        return received;
    }

    private Qkv split(Tensor packed, int rank) {
        long n = heads.queries(rank);
        long k = heads.kvs(rank);
        return new Qkv(packed.narrow(1, 0, n), packed.narrow(1, n, k), packed.narrow(1, n + k, k));
    }

    private long[] packedHeads() {
        return IntStream.range(0, group.size()).mapToLong(heads::packed).toArray();
    }

    private long[] queryHeads() {
        return IntStream.range(0, group.size()).mapToLong(heads::queries).toArray();
    }

    private long[] uniform(long elements) {
        long[] splits = new long[group.size()];
        Arrays.fill(splits, elements);
        return splits;
    }

    private static long[] times(long[] widths, long factor) {
        return Arrays.stream(widths).map(width -> width * factor).toArray();
    }
}
