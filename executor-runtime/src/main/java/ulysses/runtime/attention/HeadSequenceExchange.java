package ulysses.runtime.attention;

import java.util.Arrays;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.collective.Collectives;
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

    /** For the heads of {@code heads} over the ranks of {@code group}. */
    public HeadSequenceExchange(HeadLayout heads, Collectives group) {
        if (heads.ranks() != group.size()) {
            throw new IllegalArgumentException(
                    "heads are laid out for %d ranks, the group has %d".formatted(heads.ranks(), group.size()));
        }
        this.heads = heads;
        this.group = group;
    }

    /** q, k and v, or their gradients. */
    public record Qkv(Tensor q, Tensor k, Tensor v) {}

    /** Head scatter, sequence gather: q [s,N,H], k and v [s,K,H] to q [S,n,H], k and v [S,k,H], in one fused all-to-all. */
    public Qkv scatterHeads(Qkv local) {
        if (group.size() == 1) {
            return local;
        }
        try (TensorScope scope = TensorScope.open()) {
            TensorVector blocks = new TensorVector();
            for (int r = 0; r < group.size(); r++) {
                blocks.push_back(local.q().narrow(1, heads.firstQuery(r), heads.queries(r)));
                blocks.push_back(local.k().narrow(1, heads.firstKv(r), heads.kvs(r)));
                blocks.push_back(local.v().narrow(1, heads.firstKv(r), heads.kvs(r)));
            }
            Tensor packed = packByRank(blocks, 3); // P blocks of [s, n + 2k, H], flat
            return kept(
                    scope, split(toHeads(packed, local.q(), heads.packed(group.rank()), packedHeads()), group.rank()));
        }
    }

    /** Backward of {@link #scatterHeads}: gradients [S,n,H], [S,k,H] to [s,N,H], [s,K,H]; copies of a kv head are summed. */
    public Qkv gatherHeadGradients(Qkv global) {
        if (group.size() == 1) {
            return global;
        }
        try (TensorScope scope = TensorScope.open()) {
            Tensor packed = torch.cat(new TensorVector(global.q(), global.k(), global.v()), 1); // [S, n + 2k, H]
            Tensor received = toSequence(packed, packedHeads());
            long s = packed.size(0) / group.size();
            long h = packed.size(2);
            Tensor dq = torch.empty(new long[] {s, heads.queryHeads(), h}, packed.options(), null); // [s,N,H]
            Tensor dk = torch.zeros(new long[] {s, heads.kvHeads(), h}, packed.options()); // [s,K,H]
            Tensor dv = torch.zeros(new long[] {s, heads.kvHeads(), h}, packed.options()); // [s,K,H]
            long offset = 0;
            for (int r = 0; r < group.size(); r++) {
                long width = heads.packed(r);
                Qkv part = split(received.narrow(0, offset, s * width * h).view(s, width, h), r);
                offset += s * width * h;
                dq.narrow(1, heads.firstQuery(r), heads.queries(r)).copy_(part.q());
                dk.narrow(1, heads.firstKv(r), heads.kvs(r)).add_(part.k());
                dv.narrow(1, heads.firstKv(r), heads.kvs(r)).add_(part.v());
            }
            return kept(scope, new Qkv(dq, dk, dv));
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
        try (TensorScope scope = TensorScope.open()) {
            TensorVector blocks = new TensorVector();
            for (int r = 0; r < group.size(); r++) {
                blocks.push_back(dOutput.narrow(1, heads.firstQuery(r), heads.queries(r)));
            }
            Tensor packed = packByRank(blocks, 1); // P blocks of [s,n,H], flat
            return scope.keep(toHeads(packed, dOutput, heads.queries(group.rank()), queryHeads())); // [S,n,H]
        }
    }

    /** Joins {@code perRank} blocks of each rank along the heads and lays the ranks' blocks behind each other, flat. */
    private static Tensor packByRank(TensorVector blocks, int perRank) {
        TensorVector flat = new TensorVector();
        for (long r = 0; r < blocks.size(); r += perRank) {
            TensorVector ofRank = new TensorVector();
            for (int i = 0; i < perRank; i++) {
                ofRank.push_back(blocks.get(r + i));
            }
            flat.push_back(torch.cat(ofRank, 1).view(-1)); // [s, heads of the rank, H] flat
        }
        return torch.cat(flat, 0);
    }

    /** Sends block r of {@code packed} to rank r; parts of the sequence arrive in order of ranks, so they need no copy. */
    private Tensor toHeads(Tensor packed, Tensor like, long width, long[] headsOfRanks) {
        long s = like.size(0);
        long h = like.size(2);
        Tensor received = torch.empty(new long[] {s * group.size() * width * h}, like.options(), null);
        group.allToAll(received, packed, uniform(s * width * h), times(headsOfRanks, s * h))
                .await();
        return received.view(s * group.size(), width, h); // [S, width, H]
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

    private static Qkv kept(TensorScope scope, Qkv qkv) {
        return new Qkv(scope.keep(qkv.q()), scope.keep(qkv.k()), scope.keep(qkv.v()));
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
