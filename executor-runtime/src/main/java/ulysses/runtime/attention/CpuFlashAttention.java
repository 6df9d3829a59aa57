package ulysses.runtime.attention;

import java.util.Objects;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.attention.QueryTiles.Tile;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.memory.AtenOperator;
import ulysses.runtime.memory.TensorScope;

/**
 * The flash kernel for CPU, called for each of the pattern's {@link QueryTiles} with the keys that it sees: sinks and local ones side
 * by side. The kernel reads grouped kv heads itself (tried: kv gradients come back summed).
 */
final class CpuFlashAttention implements CoreAttention {

    private static final AtenOperator FORWARD = AtenOperator.named("_scaled_dot_product_flash_attention_for_cpu");
    private static final AtenOperator BACKWARD =
            AtenOperator.named("_scaled_dot_product_flash_attention_for_cpu_backward");

    private final QueryTiles tiles;

    /** Queries see the keys of {@code pattern}. */
    CpuFlashAttention(AttentionPattern pattern) {
        this.tiles = new QueryTiles(pattern);
    }

    @Override
    public Output forward(Qkv qkv, SequenceLayout layout) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor out = torch.empty_like(qkv.q()).contiguous(); // [S,n,H]
            @Nullable Tensor logsumexp = null; // [n,S]
            Masks masks = new Masks(qkv.q());
            for (Tile tile : tiles.of(layout)) {
                @Nullable Tensor mask = masks.of(tile);
                try (TensorScope inner = TensorScope.open()) {
                    Tensor[] result = FORWARD.call(
                            queries(qkv.q(), tile),
                            keys(qkv.k(), tile),
                            keys(qkv.v(), tile),
                            0.0,
                            tile.isCausal(),
                            mask,
                            null);
                    queries(out, tile).copy_(result[0]);
                    if (logsumexp == null) {
                        long[] shape = {qkv.q().size(1), layout.length()};
                        logsumexp = inner.keep(result[1].new_empty(shape));
                    }
                    ofQueries(logsumexp, tile).copy_(result[1].squeeze(0)); // [n,queries]
                }
            }
            return new Output(scope.keep(out), scope.keep(Objects.requireNonNull(logsumexp)));
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
            Masks masks = new Masks(qkv.q());
            for (Tile tile : tiles.of(layout)) {
                @Nullable Tensor mask = masks.of(tile);
                try (TensorScope inner = TensorScope.open()) {
                    Tensor[] result = BACKWARD.call(
                            queries(dOut, tile),
                            queries(qkv.q(), tile),
                            keys(qkv.k(), tile),
                            keys(qkv.v(), tile),
                            queries(output.out(), tile),
                            ofQueries(output.logsumexp(), tile).contiguous().unsqueeze(0),
                            0.0,
                            tile.isCausal(),
                            mask,
                            null);
                    queries(gradients.q(), tile).copy_(result[0]);
                    addToKeys(gradients.k(), tile, result[1]);
                    addToKeys(gradients.v(), tile, result[2]);
                }
            }
            return gradients.kept(scope);
        }
    }

    /** The mask of the tile before serves the next one where they look alike, as all but the first and last of a document do. */
    private final class Masks {
        private final Tensor like;
        private QueryTiles.@Nullable MaskShape shape;
        private @Nullable Tensor mask;

        Masks(Tensor like) {
            this.like = like;
        }

        /** [queries, keys] of {@code tile}, valid until the next call; null where plain causal masking does. */
        @Nullable
        Tensor of(Tile tile) {
            if (tile.isCausal()) {
                return null;
            }
            QueryTiles.MaskShape wanted = tiles.maskShape(tile);
            if (mask == null || !wanted.equals(shape)) {
                if (mask != null) {
                    mask.close();
                }
                mask = torch.tensor(tiles.mask(tile))
                        .view(tile.queries(), tile.keys())
                        .to(like.scalar_type());
                shape = wanted;
            }
            return mask;
        }
    }

    private static Tensor queries(Tensor x, Tile tile) {
        return heads(x.narrow(0, tile.document() + tile.start(), tile.queries())); // [1,n,queries,H]
    }

    private static Tensor ofQueries(Tensor logsumexp, Tile tile) {
        return logsumexp.narrow(1, tile.document() + tile.start(), tile.queries()); // [n,queries]
    }

    /** Sinks, then local keys. */
    private static Tensor keys(Tensor x, Tile tile) {
        if (tile.sinks() == 0) {
            return heads(localKeys(x, tile)); // [1,k,keys,H]
        }
        TensorVector parts = new TensorVector(sinks(x, tile), localKeys(x, tile));
        return heads(torch.cat(parts, 0)); // [1,k,keys,H]
    }

    /** Adds gradients [1,k,keys,H] of what {@link #keys} gave. */
    private static void addToKeys(Tensor x, Tile tile, Tensor gradients) {
        Tensor byKey = gradients.squeeze(0).transpose(0, 1); // [keys,k,H]
        localKeys(x, tile).add_(byKey.narrow(0, tile.sinks(), tile.localKeys()));
        if (tile.sinks() > 0) {
            sinks(x, tile).add_(byKey.narrow(0, 0, tile.sinks()));
        }
    }

    private static Tensor sinks(Tensor x, Tile tile) {
        return x.narrow(0, tile.document(), tile.sinks());
    }

    private static Tensor localKeys(Tensor x, Tile tile) {
        return x.narrow(0, tile.document() + tile.keyStart(), tile.localKeys());
    }

    private static Tensor heads(Tensor x) {
        return x.transpose(0, 1).unsqueeze(0);
    }
}
