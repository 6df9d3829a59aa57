package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.RotaryEmbedding.Rotation;
import ulysses.runtime.segment.Parameter;

/**
 * The part of a layer before attention: norm, projections to heads, norms of heads where the family has them, rotary embedding.
 * Backward is written beside it and needs the layer's input alone: of the products it repeats those that a norm of heads needs.
 * Called without autograd.
 */
record BeforeAttention(
        RmsNorm norm, Linear queries, Linear keys, Linear values, Optional<HeadNorms> headNorms, int headSize) {

    /** Norms over the features of each head, of q and of k. */
    record HeadNorms(RmsNorm queries, RmsNorm keys) {}

    /** q [s,N,H], k and v [s,K,H] of {@code x} [s,D], tile by tile; they belong to the caller's scope. */
    Qkv forward(Tensor x, Rotation rotation, AdapterDropout dropout, List<Tile> tiles) {
        try (TensorScope scope = TensorScope.open()) {
            Qkv result = new Qkv(empty(x, queries), empty(x, keys), empty(x, values));
            for (Tile tile : tiles) {
                try (TensorScope inner = TensorScope.open()) {
                    forward(tile, norm.apply(tile.in(x)), tile.in(rotation), tile.in(dropout), result);
                }
            }
            return new Qkv(scope.keep(result.q()), scope.keep(result.k()), scope.keep(result.v()));
        }
    }

    private void forward(Tile tile, Tensor normed, Rotation rotation, AdapterDropout dropout, Qkv result) {
        Tensor q = heads(queries.apply(normed, dropout)); // [t,N,H]
        Tensor k = heads(keys.apply(normed, dropout)); // [t,K,H]
        rotation.apply(headNorms.map(norms -> norms.queries().apply(q)).orElse(q), tile.in(result.q()));
        rotation.apply(headNorms.map(norms -> norms.keys().apply(k)).orElse(k), tile.in(result.k()));
        tile.in(result.v()).copy_(heads(values.apply(normed, dropout)));
    }

    /** Adds to the gradient {@code dX} [s,D] of {@code x} what comes through q, k and v; gradients of parameters are accumulated. */
    void backward(Tensor x, Qkv dQkv, Rotation rotation, AdapterDropout dropout, List<Tile> tiles, Tensor dX) {
        for (Tile tile : tiles) {
            try (TensorScope scope = TensorScope.open()) {
                Tensor input = tile.in(x); // [t,D]
                Rotation turned = tile.in(rotation);
                Qkv dRotated = new Qkv(tile.in(dQkv.q()), tile.in(dQkv.k()), tile.in(dQkv.v()));
                Qkv dHeads = new Qkv(turned.backward(dRotated.q()), turned.backward(dRotated.k()), dRotated.v());
                Tensor dNormed = backward(norm.apply(input), dHeads, tile.in(dropout)); // [t,D]
                tile.in(dX).add_(norm.backward(input, dNormed));
            }
        }
    }

    private Tensor backward(Tensor normed, Qkv dHeads, AdapterDropout dropout) {
        Tensor dq = dHeads.q();
        Tensor dk = dHeads.k();
        if (headNorms.isPresent()) {
            HeadNorms norms = headNorms.get();
            dq = norms.queries().backward(heads(queries.apply(normed, dropout)), dq);
            dk = norms.keys().backward(heads(keys.apply(normed, dropout)), dk);
        }
        return queries.backward(normed, joined(dq), dropout)
                .add_(keys.backward(normed, joined(dk), dropout))
                .add_(values.backward(normed, joined(dHeads.v()), dropout));
    }

    private Tensor empty(Tensor x, Linear projection) {
        long heads = projection.weight().value().size(0) / headSize;
        return torch.empty(new long[] {x.size(0), heads, headSize}, x.options(), null);
    }

    /** [t, heads * H] to [t, heads, H]. */
    private Tensor heads(Tensor x) {
        return x.view(x.size(0), x.size(1) / headSize, headSize);
    }

    private static Tensor joined(Tensor heads) {
        return heads.reshape(heads.size(0), heads.size(1) * heads.size(2));
    }

    List<Parameter> parameters() {
        List<Parameter> parameters = new ArrayList<>(List.of(norm.weight()));
        Stream.of(queries, keys, values).forEach(linear -> parameters.addAll(linear.parameters()));
        headNorms.ifPresent(norms ->
                parameters.addAll(List.of(norms.queries().weight(), norms.keys().weight())));
        return parameters;
    }
}
