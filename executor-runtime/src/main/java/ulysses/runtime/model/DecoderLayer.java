package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.CoreAttention;
import ulysses.runtime.attention.HeadSequenceExchange.Arriving;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.attention.SequenceLayout;
import ulysses.runtime.attention.UlyssesAttention;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.RotaryEmbedding.Rotation;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.segment.PhaseClock;
import ulysses.runtime.segment.PhaseClock.Phase;
import ulysses.runtime.segment.Segment;
import ulysses.runtime.weights.KeptActivations.Strength;
import ulysses.runtime.weights.ModelSpec;

/**
 * One decoder layer: norm, attention, residual, norm, MLP, residual. All but attention knows no other token and runs tile by tile along
 * the sequence, so that no [s,F] exists unless it is kept. Every product has its backward written beside it, so backward computes
 * again only what was not kept and is needed: never the down projection, and attention's forward only where nothing is kept.
 */
final class DecoderLayer {

    private final BeforeAttention before;
    private final UlyssesAttention attention;
    private final AfterAttention after;
    private final CausalLm.Layers how;
    private final PhaseClock clock;

    /** Layer {@code index} of a model; {@code clock} is told the time of its parts. */
    DecoderLayer(
            ModelSpec spec,
            int index,
            ModuleWeights weights,
            UlyssesAttention attention,
            CausalLm.Layers how,
            PhaseClock clock) {
        this.clock = clock;
        String layer = "model.layers." + index + ".";
        String self = layer + "self_attn.";
        double epsilon = spec.normEpsilon();
        this.attention = attention;
        this.how = how;
        this.before = new BeforeAttention(
                weights.norm(layer + "input_layernorm", epsilon),
                weights.linear(self + "q_proj"),
                weights.linear(self + "k_proj"),
                weights.linear(self + "v_proj"),
                spec.family().queryKeyNorm()
                        ? Optional.of(new BeforeAttention.HeadNorms(
                                weights.norm(self + "q_norm", epsilon), weights.norm(self + "k_norm", epsilon)))
                        : Optional.empty(),
                spec.headSize());
        this.after = new AfterAttention(
                weights.linear(self + "o_proj"),
                weights.norm(layer + "post_attention_layernorm", epsilon),
                new GatedMlp(
                        weights.linear(layer + "mlp.gate_proj"),
                        weights.linear(layer + "mlp.up_proj"),
                        weights.linear(layer + "mlp.down_proj")));
    }

    /** Whether anything in it is trained. */
    boolean isTrained() {
        return Stream.of(before.parameters(), after.parameters())
                .flatMap(List::stream)
                .anyMatch(Parameter::isTrained);
    }

    /**
     * This layer for one micro-batch: a segment from [s,D] to [s,D] that keeps what {@code strength} says. {@code dropout} is part of
     * the math, in inference too.
     */
    Segment on(SequenceLayout layout, Rotation rotation, AdapterDropout dropout, Strength strength) {
        return new OnSequence(layout, rotation, dropout, strength);
    }

    /**
     * What forward left for backward; what is missing backward computes again.
     *
     * @param core attention's output and logsumexp, over all parts of the sequence
     * @param exchanged q, k and v as attention took them
     * @param attended attention's output of this rank's tokens [s,N,H]
     * @param inner between attention and the down projection, tile by tile; empty where it is not kept
     */
    private record Kept(
            Optional<CoreAttention.Output> core,
            Optional<Qkv> exchanged,
            Optional<Tensor> attended,
            List<AfterAttention.Inner> inner)
            implements AutoCloseable {

        Stream<Tensor> tensors() {
            Stream<Tensor> ofAttention = Stream.concat(
                    core.stream().flatMap(it -> Stream.of(it.out(), it.logsumexp())),
                    exchanged.stream().flatMap(qkv -> Stream.of(qkv.q(), qkv.k(), qkv.v())));
            Stream<Tensor> behind = Stream.concat(
                    attended.filter(this::isOfItsOwn).stream(), inner.stream().flatMap(AfterAttention.Inner::tensors));
            return Stream.concat(ofAttention, behind);
        }

        /** With one rank nothing travels, and attention's output is what was attended. */
        private boolean isOfItsOwn(Tensor local) {
            return core.filter(it -> it.out().is_same(local)).isEmpty();
        }

        @Override
        public void close() {
            core.ifPresent(CoreAttention.Output::close);
            exchanged.ifPresent(qkv -> Stream.of(qkv.q(), qkv.k(), qkv.v()).forEach(Tensor::close));
            attended.ifPresent(Tensor::close);
            inner.forEach(AfterAttention.Inner::close);
        }
    }

    private final class OnSequence implements Segment {
        private final SequenceLayout layout;
        private final Rotation rotation;
        private final AdapterDropout dropout;
        private final Strength strength;

        OnSequence(SequenceLayout layout, Rotation rotation, AdapterDropout dropout, Strength strength) {
            this.layout = layout;
            this.rotation = rotation;
            this.dropout = dropout;
            this.strength = strength;
        }

        private boolean keeps(Strength least) {
            return strength.compareTo(least) >= 0;
        }

        private List<Tile> tiles(Tensor x) {
            return Tile.of(x.size(0), how.tileTokens(after.mlp().width()));
        }

        private BeforeAttention.Places places(Tensor x) {
            return new BeforeAttention.Places(rotation, dropout, tiles(x));
        }

        @Override
        public Tensor infer(Tensor x) {
            try (TensorScope scope = TensorScope.open();
                    AutoGradMode off = new AutoGradMode(false)) {
                Tensor attended = attended(x); // [s,N,H]
                return scope.keep(finished(x, attended, inner -> {}));
            }
        }

        /** Attention's output [s,N,H]; all else is freed. */
        private Tensor attended(Tensor x) {
            try (TensorScope scope = TensorScope.open()) {
                return scope.keep(attention.forward(exchanged(x), layout).output());
            }
        }

        /** q [S,n,H], k and v [S,k,H] of the whole sequence for this rank's heads. */
        private Qkv exchanged(Tensor x) {
            return attention.overlaps() ? exchangedValuesFirst(x) : exchangedTogether(x);
        }

        private Qkv exchangedTogether(Tensor x) {
            try (TensorScope scope = TensorScope.open()) {
                Qkv local;
                try (PhaseClock.Span time = clock.start(Phase.PROJECTIONS)) {
                    local = before.forward(x, places(x));
                }
                return attention.exchange(local).kept(scope);
            }
        }

        /** v travels while q and k are made. */
        private Qkv exchangedValuesFirst(Tensor x) {
            try (TensorScope scope = TensorScope.open();
                    Arriving values = sentValues(x)) {
                BeforeAttention.QueriesAndKeys made;
                try (PhaseClock.Span time = clock.start(Phase.PROJECTIONS)) {
                    made = before.queriesAndKeys(x, places(x));
                }
                return attention.exchange(made.q(), made.k(), values).kept(scope);
            }
        }

        private Arriving sentValues(Tensor x) {
            try (TensorScope scope = TensorScope.open()) {
                Tensor v; // [s,K,H]
                try (PhaseClock.Span time = clock.start(Phase.PROJECTIONS)) {
                    v = before.values(x, places(x));
                }
                return attention.sendValues(v);
            }
        }

        @Override
        public Pass forward(Tensor x) {
            try (TensorScope scope = TensorScope.open();
                    AutoGradMode off = new AutoGradMode(false)) {
                List<AfterAttention.Inner> inner = new ArrayList<>();
                Optional<Qkv> qkv;
                Optional<CoreAttention.Output> core;
                Tensor attended; // [s,N,H]
                try (TensorScope untilAttended = TensorScope.open()) {
                    Qkv exchanged = exchanged(x);
                    UlyssesAttention.Forward result = attention.forward(exchanged, layout);
                    qkv = keeps(Strength.PROJECTIONS) ? Optional.of(owned(exchanged)) : Optional.empty();
                    core = keeps(Strength.ATTENTION) ? Optional.of(owned(result.core())) : Optional.empty();
                    attended = untilAttended.keep(result.output());
                }
                boolean all = keeps(Strength.EVERYTHING);
                Tensor output = TensorScope.own(finished(x, attended, it -> {
                    if (all) {
                        inner.add(it.owned());
                    }
                }));
                Optional<Tensor> local = all ? Optional.of(TensorScope.own(attended)) : Optional.empty();
                return new LayerPass(x, output, new Kept(core, qkv, local, inner), this);
            }
        }

        /** The layer's output [s,D] from its input and attention's output, tile by tile; {@code each} sees what lies inside of one. */
        private Tensor finished(Tensor x, Tensor attended, Consumer<AfterAttention.Inner> each) {
            try (PhaseClock.Span time = clock.start(Phase.MLP)) {
                Tensor joined = joined(attended); // [s,N*H]
                Tensor output = torch.empty_like(x);
                for (Tile tile : tiles(x)) {
                    try (TensorScope scope = TensorScope.open()) {
                        AfterAttention.Inner inner = after.inner(tile.in(x), tile.in(joined), tile.in(dropout));
                        tile.in(output).copy_(after.output(inner, tile.in(dropout)));
                        each.accept(inner);
                    }
                }
                return output;
            }
        }

        private Tensor backward(Tensor dOutput, LayerPass pass) {
            try (TensorScope scope = TensorScope.open();
                    AutoGradMode off = new AutoGradMode(false)) {
                Tensor x = pass.x();
                Kept kept = pass.kept();
                Tensor dX = scope.keep(torch.empty_like(x)); // [s,D]
                Qkv dQkv = attention.exchangeBackward(
                        kept.core().isPresent()
                                ? attentionBackward(dOutput, pass, kept.core().get(), dX)
                                : attentionRunAgain(dOutput, pass, dX));
                try (PhaseClock.Span time = clock.start(Phase.PROJECTIONS)) {
                    before.backward(x, dQkv, places(x), dX);
                }
                return dX;
            }
        }

        /** Gradients of q, k and v of this rank's heads; {@code dX} gets what goes round attention. */
        private Qkv attentionBackward(Tensor dOutput, LayerPass pass, CoreAttention.Output core, Tensor dX) {
            try (TensorScope scope = TensorScope.open();
                    Arriving dHeads = sentGradient(dOutput, pass, core, dX)) {
                Qkv exchanged = pass.kept().exchanged().orElseGet(() -> exchanged(pass.x()));
                return attention.backward(dHeads, exchanged, core, layout).kept(scope);
            }
        }

        /** That of attention's output, which travels while q, k and v are made again. */
        private Arriving sentGradient(Tensor dOutput, LayerPass pass, CoreAttention.Output core, Tensor dX) {
            try (TensorScope scope = TensorScope.open()) {
                Tensor attended = pass.kept().attended().orElseGet(() -> attention.outputAgain(core)); // [s,N,H]
                return attention.sendOutputGradient(finishBackward(dOutput, pass, attended, dX));
            }
        }

        /** The same where nothing was kept. */
        private Qkv attentionRunAgain(Tensor dOutput, LayerPass pass, Tensor dX) {
            try (TensorScope scope = TensorScope.open()) {
                Qkv exchanged = exchanged(pass.x());
                UlyssesAttention.Forward again = attention.forward(exchanged, layout);
                Tensor dAttended = finishBackward(dOutput, pass, again.output(), dX);
                try (Arriving dHeads = attention.sendOutputGradient(dAttended)) {
                    return attention
                            .backward(dHeads, exchanged, again.core(), layout)
                            .kept(scope);
                }
            }
        }

        /** Backward of {@link #finished}: gives that of attention's output [s,N,H] and writes the rest to {@code dX}. */
        private Tensor finishBackward(Tensor dOutput, LayerPass pass, Tensor attended, Tensor dX) {
            Tensor joined = joined(attended); // [s,N*H]
            Tensor dJoined = torch.empty_like(joined);
            List<AfterAttention.Inner> kept = pass.kept().inner();
            int index = 0;
            for (Tile tile : tiles(dX)) {
                AdapterDropout drops = tile.in(dropout);
                try (TensorScope scope = TensorScope.open();
                        PhaseClock.Span time = clock.start(Phase.MLP);
                        AfterAttention.Inner inner = kept.isEmpty()
                                ? after.inner(tile.in(pass.x()), tile.in(joined), drops)
                                : kept.get(index++)) {
                    AfterAttention.Gradients gradients =
                            after.backward(tile.in(joined), inner, tile.in(dOutput), drops);
                    tile.in(dX).copy_(gradients.x());
                    tile.in(dJoined).copy_(gradients.attended());
                }
            }
            return dJoined.view(attended.sizes());
        }
    }

    private record LayerPass(Tensor x, Tensor output, Kept kept, OnSequence segment) implements Segment.Pass {

        @Override
        public List<Tensor> remembered() {
            return Stream.concat(Stream.of(x), kept.tensors()).toList();
        }

        @Override
        public Tensor backward(Tensor dOutput) {
            return segment.backward(dOutput, this);
        }

        @Override
        public void close() {
            output.close();
            kept.close();
        }
    }

    private static Tensor joined(Tensor heads) {
        return heads.reshape(heads.size(0), heads.size(1) * heads.size(2)); // [s,N*H]
    }

    private static Qkv owned(Qkv qkv) {
        return new Qkv(TensorScope.own(qkv.q()), TensorScope.own(qkv.k()), TensorScope.own(qkv.v()));
    }

    private static CoreAttention.Output owned(CoreAttention.Output core) {
        return new CoreAttention.Output(TensorScope.own(core.out()), TensorScope.own(core.logsumexp()));
    }
}
