package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.BiConsumer;
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

    /** One micro-batch's way through: everything that depends on the place of a token. */
    record Places(Rotation rotation, AdapterDropout dropout, List<Tile> tiles) {}

    /** q [s,N,H], k and v [s,K,H] of {@code x} [s,D], tile by tile; they belong to the caller's scope. */
    Qkv forward(Tensor x, Places places) {
        try (TensorScope scope = TensorScope.open()) {
            Qkv result = new Qkv(empty(x, queries), empty(x, keys), empty(x, values));
            forEachTile(x, places, (tile, normed) -> {
                queryAndKey(tile, normed, places, result.q(), result.k());
                value(tile, normed, places, result.v());
            });
            return result.kept(scope);
        }
    }

    /** v [s,K,H] alone. */
    Tensor values(Tensor x, Places places) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor v = empty(x, values);
            forEachTile(x, places, (tile, normed) -> value(tile, normed, places, v));
            return scope.keep(v);
        }
    }

    /** q [s,N,H] and k [s,K,H], rotated. */
    record QueriesAndKeys(Tensor q, Tensor k) {}

    /** q and k alone; the norm runs once more for them. */
    QueriesAndKeys queriesAndKeys(Tensor x, Places places) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor q = empty(x, queries);
            Tensor k = empty(x, keys);
            forEachTile(x, places, (tile, normed) -> queryAndKey(tile, normed, places, q, k));
            return new QueriesAndKeys(scope.keep(q), scope.keep(k));
        }
    }

    private void forEachTile(Tensor x, Places places, BiConsumer<Tile, Tensor> work) {
        for (Tile tile : places.tiles()) {
            try (TensorScope scope = TensorScope.open()) {
                work.accept(tile, norm.apply(tile.in(x)));
            }
        }
    }

    private void queryAndKey(Tile tile, Tensor normed, Places places, Tensor toQ, Tensor toK) {
        AdapterDropout dropout = tile.in(places.dropout());
        Rotation rotation = tile.in(places.rotation());
        Tensor q = heads(queries.apply(normed, dropout)); // [t,N,H]
        Tensor k = heads(keys.apply(normed, dropout)); // [t,K,H]
        rotation.apply(headNorms.map(norms -> norms.queries().apply(q)).orElse(q), tile.in(toQ));
        rotation.apply(headNorms.map(norms -> norms.keys().apply(k)).orElse(k), tile.in(toK));
    }

    private void value(Tile tile, Tensor normed, Places places, Tensor toV) {
        tile.in(toV).copy_(heads(values.apply(normed, tile.in(places.dropout()))));
    }

    /** Adds to the gradient {@code dX} [s,D] of {@code x} what comes through q, k and v; gradients of parameters are accumulated. */
    void backward(Tensor x, Qkv dQkv, Places places, Tensor dX) {
        for (Tile tile : places.tiles()) {
            try (TensorScope scope = TensorScope.open()) {
                Tensor input = tile.in(x); // [t,D]
                Rotation turned = tile.in(places.rotation());
                Qkv dRotated = new Qkv(tile.in(dQkv.q()), tile.in(dQkv.k()), tile.in(dQkv.v()));
                Qkv dHeads = new Qkv(turned.backward(dRotated.q()), turned.backward(dRotated.k()), dRotated.v());
                Tensor dNormed = backward(norm.apply(input), dHeads, tile.in(places.dropout())); // [t,D]
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
