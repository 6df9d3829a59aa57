package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.LongStream;
import java.util.stream.Stream;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.CoreAttention;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.attention.SequenceLayout;
import ulysses.runtime.attention.UlyssesAttention;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.RotaryEmbedding.Rotation;
import ulysses.runtime.segment.LocalSegment;
import ulysses.runtime.segment.LocalSegment.Graph;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.segment.Segment;
import ulysses.runtime.weights.ModelSpec;

/**
 * One decoder layer: norm, attention, residual, norm, MLP, residual. Two local parts run under autograd: from the input to q, k and v,
 * and from attention's output to what the down projection is given. Rotary embedding, attention and the down projection have
 * backwards of their own, so that recomputation stops at what backward needs. With checkpointing the part behind attention, which
 * knows no other token, runs tile by tile along the sequence (ALST, arXiv:2506.13996, section 3): no [s,F] exists.
 */
final class DecoderLayer {

    private final ModelSpec spec;
    private final UlyssesAttention attention;
    private final CausalLm.Layers how;
    private final RmsNorm inputNorm;
    private final Linear queries;
    private final Linear keys;
    private final Linear values;
    private final List<RmsNorm> queryKeyNorms;
    private final Linear outputs;
    private final RmsNorm middleNorm;
    private final GatedMlp mlp;

    /** Layer {@code index} of a model. */
    DecoderLayer(ModelSpec spec, int index, ModuleWeights weights, UlyssesAttention attention, CausalLm.Layers how) {
        String layer = "model.layers." + index + ".";
        String self = layer + "self_attn.";
        double epsilon = spec.normEpsilon();
        this.spec = spec;
        this.attention = attention;
        this.how = how;
        this.inputNorm = weights.norm(layer + "input_layernorm", epsilon);
        this.queries = weights.linear(self + "q_proj");
        this.keys = weights.linear(self + "k_proj");
        this.values = weights.linear(self + "v_proj");
        this.queryKeyNorms = spec.family().queryKeyNorm()
                ? List.of(weights.norm(self + "q_norm", epsilon), weights.norm(self + "k_norm", epsilon))
                : List.of();
        this.outputs = weights.linear(self + "o_proj");
        this.middleNorm = weights.norm(layer + "post_attention_layernorm", epsilon);
        this.mlp = new GatedMlp(
                weights.linear(layer + "mlp.gate_proj"),
                weights.linear(layer + "mlp.up_proj"),
                weights.linear(layer + "mlp.down_proj"));
    }

    /** Whether anything in it is trained. */
    boolean isTrained() {
        return Stream.of(projectionParameters(), finishParameters(), mlp.down().parameters())
                .flatMap(List::stream)
                .anyMatch(Parameter::isTrained);
    }

    /** This layer for one micro-batch: a segment from [s,D] to [s,D]. {@code dropout} is part of the math, in inference too. */
    Segment on(SequenceLayout layout, Rotation rotation, AdapterDropout dropout) {
        return new OnSequence(layout, rotation, dropout);
    }

    /** q [s,N,H], k [s,K,H] and v [s,K,H] of the layer's input x [s,D], not rotated yet. */
    private Tensor[] project(Tensor x, AdapterDropout dropout) {
        Tensor normed = inputNorm.apply(x); // [s,D]
        Tensor q = heads(queries.apply(normed, dropout), spec.heads()); // [s,N,H]
        Tensor k = heads(keys.apply(normed, dropout), spec.kvHeads()); // [s,K,H]
        Tensor v = heads(values.apply(normed, dropout), spec.kvHeads()); // [s,K,H]
        if (!queryKeyNorms.isEmpty()) {
            q = queryKeyNorms.get(0).apply(q);
            k = queryKeyNorms.get(1).apply(k);
        }
        return new Tensor[] {q, k, v};
    }

    /** The residual stream behind attention [s,D], and what the down projection is given [s,F]. */
    private Tensor[] finish(Tensor x, Tensor o, AdapterDropout dropout) {
        Tensor joined = o.reshape(x.size(0), (long) spec.heads() * spec.headSize()); // [s,N*H]
        Tensor middle = x.add(outputs.apply(joined, dropout)); // [s,D]
        return new Tensor[] {middle, mlp.gated(middleNorm.apply(middle), dropout)};
    }

    /** The layer's output [s,D] from both results of {@link #finish}. */
    private Tensor output(Tensor middle, Tensor gated, AdapterDropout dropout) {
        return mlp.down().apply(gated, dropout).add_(middle); // [s,D]
    }

    private Tensor heads(Tensor x, long count) {
        return x.view(x.size(0), count, spec.headSize());
    }

    private List<Parameter> projectionParameters() {
        List<Parameter> parameters = new ArrayList<>(List.of(inputNorm.weight()));
        List.of(queries, keys, values).forEach(linear -> parameters.addAll(linear.parameters()));
        queryKeyNorms.forEach(norm -> parameters.add(norm.weight()));
        return parameters;
    }

    private List<Parameter> finishParameters() {
        List<Parameter> parameters = new ArrayList<>(outputs.parameters());
        parameters.add(middleNorm.weight());
        parameters.addAll(mlp.gatedParameters());
        return parameters;
    }

    private final class OnSequence implements Segment {
        private final SequenceLayout layout;
        private final Rotation rotation;
        private final AdapterDropout dropout;
        private final LocalSegment projection;

        OnSequence(SequenceLayout layout, Rotation rotation, AdapterDropout dropout) {
            this.layout = layout;
            this.rotation = rotation;
            this.dropout = dropout;
            this.projection = new LocalSegment(projectionParameters(), inputs -> project(inputs[0], dropout));
        }

        @Override
        public Tensor infer(Tensor x) {
            try (TensorScope scope = TensorScope.open();
                    AutoGradMode off = new AutoGradMode(false)) {
                UlyssesAttention.Forward attended = attended(projection.forward(x));
                return scope.keep(finished(x, attended.output()));
            }
        }

        private Qkv rotated(Tensor... qkv) {
            return new Qkv(rotation.apply(qkv[0]), rotation.apply(qkv[1]), qkv[2]);
        }

        private Qkv rotated(Graph projected) {
            return rotated(projected.output(0), projected.output(1), projected.output(2));
        }

        /** Attention's forward; what was exchanged for it is freed at once. */
        private UlyssesAttention.Forward attended(Tensor... projected) {
            try (TensorScope scope = TensorScope.open()) {
                UlyssesAttention.Forward result = attention.forward(attention.exchange(rotated(projected)), layout);
                scope.keep(result.core().out());
                scope.keep(result.core().logsumexp());
                return new UlyssesAttention.Forward(scope.keep(result.output()), result.core());
            }
        }

        /** The part behind attention, for the tokens that {@code drops} is for. */
        private LocalSegment finish(AdapterDropout drops) {
            return new LocalSegment(
                    finishParameters(), inputs -> DecoderLayer.this.finish(inputs[0], inputs[1], drops));
        }

        /** The layer's output [s,D] from its input and attention's output, tile by tile. */
        private Tensor finished(Tensor x, Tensor attended) {
            Tensor output = torch.empty_like(x);
            for (Tile tile : Tile.of(x.size(0), how.tileTokens(mlp.width()))) {
                try (TensorScope scope = TensorScope.open()) {
                    AdapterDropout drops = dropout.part(tile.first(), tile.tokens());
                    Tensor[] result = finish(drops).forward(tile.in(x), tile.in(attended));
                    tile.in(output).copy_(output(result[0], result[1], drops));
                }
            }
            return output;
        }

        /** Gradients of the layer's input and of attention's output from a recorded {@link #finish}. */
        private Tensor[] backward(Graph finished, Tensor dOutput, AdapterDropout drops) {
            Tensor dGated = mlp.down().backward(finished.output(1), dOutput, drops); // [s,F]
            return finished.backward(dOutput, dGated);
        }

        @Override
        public Pass forward(Tensor x) {
            return how.checkpointing() ? recomputing(x) : keeping(x);
        }

        private Pass recomputing(Tensor x) {
            try (TensorScope scope = TensorScope.open();
                    AutoGradMode off = new AutoGradMode(false)) {
                UlyssesAttention.Forward attended = attended(projection.forward(x));
                CoreAttention.Output core = owned(attended.core());
                Tensor output = TensorScope.own(finished(x, attended.output()));
                return new LayerPass(output, core, new Recomputed(x, core), this);
            }
        }

        private Pass keeping(Tensor x) {
            try (TensorScope scope = TensorScope.open();
                    AutoGradMode off = new AutoGradMode(false)) {
                Graph projected = projection.record(x);
                Qkv exchanged = attention.exchange(rotated(projected));
                UlyssesAttention.Forward attended = attention.forward(exchanged, layout);
                CoreAttention.Output core = owned(attended.core());
                Graph finished = finish(dropout).record(x, attended.output());
                Tensor output = TensorScope.own(output(finished.output(0), finished.output(1), dropout));
                return new LayerPass(output, core, new Kept(projected, owned(exchanged), finished, this), this);
            }
        }

        private Tensor backward(Tensor dOutput, LayerPass pass) {
            try (TensorScope scope = TensorScope.open();
                    AutoGradMode off = new AutoGradMode(false)) {
                Tensor[] dFinish =
                        pass.recall().finishBackward(dOutput); // of x [s,D] and of attention's output [s,N,H]
                try (Graph projected = pass.recall().projected()) {
                    Qkv exchanged = pass.recall().exchanged(projected);
                    Qkv dQkv = attention.backward(dFinish[1], exchanged, pass.core(), layout);
                    Tensor[] dProjection =
                            projected.backward(rotation.backward(dQkv.q()), rotation.backward(dQkv.k()), dQkv.v());
                    return scope.keep(dFinish[0].add(dProjection[0])); // [s,D]
                }
            }
        }

        /** Where backward gets what forward had, in this order. */
        private interface Recall extends AutoCloseable {
            Tensor[] finishBackward(Tensor dOutput);

            Graph projected();

            Qkv exchanged(Graph projected);

            @Override
            void close();
        }

        /** The graphs of both local parts, and q, k and v as exchanged. */
        private record Kept(Graph projected, Qkv qkv, Graph finished, OnSequence segment) implements Recall {
            @Override
            public Tensor[] finishBackward(Tensor dOutput) {
                try (finished) {
                    return segment.backward(finished, dOutput, segment.dropout);
                }
            }

            @Override
            public Qkv exchanged(Graph ofProjection) {
                return qkv;
            }

            @Override
            public void close() {
                projected.close();
                qkv.q().close();
                qkv.k().close();
                qkv.v().close();
                finished.close();
            }
        }

        /**
         * From the input and attention's output: the local parts and both exchanges run again; attention's forward, which grows with
         * the square of the length, does not (numerics.md, section 2).
         */
        private final class Recomputed implements Recall {
            private final Tensor x;
            private final CoreAttention.Output core;

            Recomputed(Tensor x, CoreAttention.Output core) {
                this.x = x;
                this.core = core;
            }

            @Override
            public Tensor[] finishBackward(Tensor dOutput) {
                try (TensorScope scope = TensorScope.open()) {
                    Tensor attended = attention.outputAgain(core); // [s,N,H]
                    Tensor dX = scope.keep(torch.empty_like(x));
                    Tensor dAttended = scope.keep(torch.empty_like(attended));
                    for (Tile tile : Tile.of(x.size(0), how.tileTokens(mlp.width()))) {
                        backward(tile, attended, dOutput, dX, dAttended);
                    }
                    return new Tensor[] {dX, dAttended};
                }
            }

            private void backward(Tile tile, Tensor attended, Tensor dOutput, Tensor dX, Tensor dAttended) {
                AdapterDropout drops = dropout.part(tile.first(), tile.tokens());
                try (TensorScope scope = TensorScope.open();
                        Graph finished = finish(drops).record(tile.in(x), tile.in(attended))) {
                    Tensor[] gradients = OnSequence.this.backward(finished, tile.in(dOutput), drops);
                    tile.in(dX).copy_(gradients[0]);
                    tile.in(dAttended).copy_(gradients[1]);
                }
            }

            @Override
            public Graph projected() {
                return projection.record(x);
            }

            @Override
            public Qkv exchanged(Graph projected) {
                return attention.exchange(rotated(projected));
            }

            @Override
            public void close() {
                // holds nothing of its own
            }
        }

        private record LayerPass(Tensor output, CoreAttention.Output core, Recall recall, OnSequence segment)
                implements Pass {

            @Override
            public Tensor backward(Tensor dOutput) {
                return segment.backward(dOutput, this);
            }

            @Override
            public void close() {
                output.close();
                core.close();
                recall.close();
            }
        }
    }

    /** Tokens {@code first} to {@code first + tokens} of a sequence. */
    private record Tile(long first, long tokens) {

        /** All tiles of a sequence, each of {@code most} tokens but for the last. */
        static List<Tile> of(long length, long most) {
            return LongStream.iterate(0, first -> first < length, first -> first + most)
                    .mapToObj(first -> new Tile(first, Math.min(most, length - first)))
                    .toList();
        }

        Tensor in(Tensor x) {
            return x.narrow(0, first, tokens);
        }
    }

    private static Qkv owned(Qkv qkv) {
        return new Qkv(TensorScope.own(qkv.q()), TensorScope.own(qkv.k()), TensorScope.own(qkv.v()));
    }

    private static CoreAttention.Output owned(CoreAttention.Output core) {
        return new CoreAttention.Output(TensorScope.own(core.out()), TensorScope.own(core.logsumexp()));
    }
}
