package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.LongUnaryOperator;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.CoreAttention;
import ulysses.runtime.attention.HeadSequenceExchange;
import ulysses.runtime.attention.SequenceLayout;
import ulysses.runtime.attention.UlyssesAttention;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.HeadLayout;
import ulysses.runtime.mesh.TileShape;
import ulysses.runtime.segment.OffloadedSegments;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.segment.PhaseClock;
import ulysses.runtime.segment.Segment;
import ulysses.runtime.segment.SegmentChain;
import ulysses.runtime.weights.KeptActivations;
import ulysses.runtime.weights.KeptActivations.Strength;
import ulysses.runtime.weights.LoraSpec;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterBlock;

/**
 * A decoder-only language model whose sequence is split over a sequence-parallel group: embedding, layers, final norm; the head
 * belongs to the objective, which never computes it for a token that does not count. It holds no native memory of its own:
 * {@link Parameters} do.
 */
public final class CausalLm {

    private final ModelSpec spec;
    private final ParameterSharing sharing;
    private final Parameters parameters;
    private final Optional<Adapter> adapter;
    private final Layers how;
    private final Collectives group;
    private final ModuleWeights weights;
    private final Parameter embedding;
    private final RotaryEmbedding rotary;
    private final HeadLayout heads;
    private final List<DecoderLayer> layers = new ArrayList<>();
    private final RmsNorm finalNorm;
    private final PhaseClock clock = new PhaseClock();
    private LongUnaryOperator beyondAttention = length -> 0;

    /**
     * How the layers compute.
     *
     * @param device where
     * @param memory what they keep of their forward for their backward
     * @param overlapsExchange whether a group's exchange goes on beside what is computed next
     * @param offload where what they keep is meanwhile, if it is not to stay
     * @param tileElements elements of an MLP's widest tensor that exist at once, where they are not kept
     */
    public record Layers(
            ParallelConfig.Device device,
            ActivationMemory memory,
            boolean overlapsExchange,
            Optional<OffloadedSegments> offload,
            long tileElements) {

        /** With tiles that suit the device, exchanges that overlap, and all that is kept beside the weights. */
        public Layers(ParallelConfig.Device device, ActivationMemory memory) {
            this(device, memory, true, Optional.empty(), TileShape.of(device).elements());
        }

        /** The same with other tiles. */
        public Layers withTiles(long elements) {
            return new Layers(device, memory, overlapsExchange, offload, elements);
        }

        /** The same with what they keep away from their forward to their backward. */
        public Layers with(OffloadedSegments away) {
            return new Layers(device, memory, overlapsExchange, Optional.of(away), tileElements);
        }

        /** The same with exchanges that are waited for, or not. */
        public Layers overlapping(boolean overlaps) {
            return new Layers(device, memory, overlaps, offload, tileElements);
        }

        private Segment offloaded(Segment layer) {
            return offload.map(segments -> segments.around(layer)).orElse(layer);
        }

        private List<Strength> strengths(KeptActivations activations, long beyondAttention) {
            return switch (memory.kind()) {
                case NONE -> activations.all(Strength.INPUT);
                case ATTENTION -> activations.all(Strength.ATTENTION);
                case FULL -> activations.all(Strength.EVERYTHING);
                case BYTES -> activations.within(memory.bytes());
                case AUTO ->
                    activations.within(activations.bytesOfAll(Strength.ATTENTION) + Math.max(0, beyondAttention));
            };
        }

        /** Tokens of one tile of an MLP with {@code width} features inside. */
        long tileTokens(long width) {
            return new TileShape(tileElements).tokens(width);
        }
    }

    /**
     * An adapter beside the model.
     *
     * @param seed of its dropout
     */
    public record Adapter(LoraSpec lora, long seed) {}

    /** A model over {@code parameters}; {@code group} shares its sequences. */
    public CausalLm(ModelSpec spec, Parameters parameters, Layers how, Collectives group) {
        this(spec, parameters, Optional.empty(), how, group);
    }

    /** A model that computes with {@code adapter}, if any, whose parameters are among {@code parameters}, all of them here. */
    public CausalLm(ModelSpec spec, Parameters parameters, Optional<Adapter> adapter, Layers how, Collectives group) {
        this(spec, new ParameterSharing(parameters, new SingleRank("parameters")), adapter, how, group);
    }

    /** The same over parameters that ranks share. */
    public CausalLm(
            ModelSpec spec, ParameterSharing sharing, Optional<Adapter> adapter, Layers how, Collectives group) {
        this.spec = spec;
        this.sharing = sharing;
        this.parameters = sharing.parameters();
        this.adapter = adapter;
        this.how = how;
        this.group = group;
        this.weights = new ModuleWeights(parameters, adapter.map(Adapter::lora));
        this.embedding = weights.get(ModelSpec.EMBEDDING);
        this.rotary = new RotaryEmbedding(spec);
        this.heads = new HeadLayout(spec.heads(), spec.kvHeads(), group.size());
        HeadSequenceExchange exchange = new HeadSequenceExchange(heads, group, how.overlapsExchange());
        for (int i = 0; i < spec.layers(); i++) {
            CoreAttention core = CoreAttention.on(how.device(), spec.pattern(i));
            UlyssesAttention attention = new UlyssesAttention(exchange, core, clock);
            layers.add(new DecoderLayer(spec, i, weights, attention, how, clock));
        }
        this.finalNorm = weights.norm("model.norm", spec.normEpsilon());
    }

    /** The same model over the same parameters with its adapter off: what training started from. Costs no memory. */
    public CausalLm withoutAdapters() {
        return adapter.isEmpty() ? this : new CausalLm(spec, sharing, Optional.empty(), how, group);
    }

    /**
     * With {@link ActivationMemory.Kind#AUTO}: bytes that layers may keep beside what attention gave, of the length S of a
     * micro-batch; 0 until told. The same on all ranks of the group.
     */
    public void keepBeyondAttention(LongUnaryOperator bytesOfLength) {
        beyondAttention = bytesOfLength;
    }

    /** Adds up how long the parts of its forward and backward take. */
    public PhaseClock clock() {
        return clock;
    }

    /** The parameters. */
    public Parameters parameters() {
        return parameters;
    }

    /**
     * The head's weight [V,D]: the embedding's where they are tied. An adapter's copy of the one is no copy of the other, as in
     * PEFT.
     */
    public Parameter head() {
        return weights.copy(ModelSpec.HEAD)
                .orElseGet(() -> parameters.get(spec.tiedHead() ? ModelSpec.EMBEDDING : ModelSpec.HEAD));
    }

    /** Where the head is used: its weight is here until this is closed. */
    public interface HeadUse extends AutoCloseable {
        @Override
        void close();
    }

    /** Brings the head's weight here, for a loss without gradient. */
    public HeadUse useHead() {
        Optional<ModelPart> part = part(head());
        part.ifPresent(ModelPart::gather);
        return () -> part.ifPresent(ModelPart::drop);
    }

    /** Brings the head's weight here and makes room for its gradient, which goes on its way when this is closed. */
    public HeadUse trainHead() {
        Optional<ModelPart> part = part(head());
        HeadUse use = useHead();
        part.ifPresent(ModelPart::openGradients);
        boolean goesOn = embedding.isTrained() && part.equals(part(embedding)); // until embedBackward
        return () -> {
            use.close();
            part.filter(it -> !goesOn).ifPresent(ModelPart::reduceGradients);
        };
    }

    private Optional<ModelPart> part(Parameter parameter) {
        return sharing.part(ParameterBlock.partOf(parameter.name()));
    }

    /** This rank's hidden states [s,D] of token ids [s], before the first layer; they belong to the caller's scope. */
    public Tensor embed(int[] ids) {
        Optional<ModelPart> part = part(embedding);
        part.ifPresent(ModelPart::gather);
        try (TensorScope scope = TensorScope.open()) {
            return scope.keep(embedding.value().detach().index_select(0, index(ids)));
        } finally {
            part.ifPresent(ModelPart::drop);
        }
    }

    /**
     * Backward of {@link #embed}: adds gradients [s,D] to the rows of the embedding. The row of the model's padding token gets none,
     * as in torch's Embedding with a padding index. Does nothing where the embedding is frozen.
     */
    public void embedBackward(int[] ids, Tensor dHidden) {
        if (!embedding.isTrained()) {
            return;
        }
        Optional<ModelPart> part = part(embedding);
        part.ifPresent(ModelPart::openGradients);
        try (TensorScope scope = TensorScope.open()) {
            Tensor index = index(ids);
            Tensor gradient = dHidden.to(torch.ScalarType.Float);
            if (spec.padId() != null) {
                gradient =
                        gradient.masked_fill(index.eq(new Scalar(spec.padId())).unsqueeze(1), new Scalar(0.0));
            }
            embedding.gradient().index_add_(0, index, gradient);
        }
        part.ifPresent(ModelPart::reduceGradients);
    }

    private Tensor index(int[] ids) {
        return torch.tensor(ids).to(embedding.value().device(), torch.ScalarType.Long);
    }

    /**
     * Layers and final norm for one micro-batch, [s,D] to [s,D], without dropout. Where neither the embedding nor the first layers
     * are trained, backward stops before them and gives no gradient of the input.
     *
     * @param layout documents of the whole stream
     * @param positions of this rank's tokens [s], restarting in each document
     */
    public Segment on(SequenceLayout layout, int[] positions) {
        return on(layout, positions, AdapterDropout.OFF);
    }

    /**
     * The same for a step of training: with the adapter's dropout.
     *
     * @param tokenNumbers of this rank's tokens [s] in the whole run: what is dropped depends on them
     */
    public Segment training(SequenceLayout layout, int[] positions, long[] tokenNumbers) {
        AdapterDropout dropout = adapter.filter(it -> it.lora().dropout() > 0)
                .map(it -> new AdapterDropout(it.lora().dropout(), it.seed(), tokenNumbers))
                .orElse(AdapterDropout.OFF);
        return on(layout, positions, dropout);
    }

    private Segment on(SequenceLayout layout, int[] positions, AdapterDropout dropout) {
        Tensor like = embedding.value();
        RotaryEmbedding.Rotation rotation = rotary.at(positions, layout.longest(), like);
        List<Segment> frozen = new ArrayList<>();
        List<Segment> segments = new ArrayList<>();
        List<Strength> strengths =
                how.strengths(activations(positions.length), beyondAttention.applyAsLong(layout.length()));
        boolean trained = embedding.isTrained();
        for (int i = 0; i < layers.size(); i++) {
            trained |= layers.get(i).isTrained();
            Segment layer = layers.get(i).on(layout, rotation, dropout, strengths.get(i));
            (trained ? segments : frozen).add(shared(how.offloaded(layer), i));
        }
        segments.add(part(finalNorm.weight())
                .map(part -> shared(new FinalNorm(finalNorm), part, Optional.empty(), layerPart(layers.size() - 1)))
                .orElseGet(() -> new FinalNorm(finalNorm)));
        return new SegmentChain(frozen, segments);
    }

    /** Counted for the rank that has most heads, so that all ranks of the group choose alike. */
    private KeptActivations activations(long tokens) {
        int bytes = parameters.isMixed() ? Short.BYTES : Float.BYTES;
        return new KeptActivations(
                spec, tokens, tokens * group.size(), heads.mostQueries(), heads.mostKvsOfAttention(), bytes);
    }

    private Segment shared(Segment layer, int index) {
        return layerPart(index)
                .map(part -> shared(layer, part, layerPart(index + 1), layerPart(index - 1)))
                .orElse(layer);
    }

    private static Segment shared(
            Segment inner, ModelPart part, Optional<ModelPart> next, Optional<ModelPart> previous) {
        return new SharedSegment(inner, part, next, previous);
    }

    private Optional<ModelPart> layerPart(int index) {
        return sharing.part("model.layers." + index);
    }

    private record FinalNorm(RmsNorm norm) implements Segment {

        @Override
        public Pass forward(Tensor x) {
            return new NormPass(TensorScope.own(infer(x)), x, norm);
        }

        @Override
        public Tensor infer(Tensor x) {
            try (AutoGradMode off = new AutoGradMode(false)) {
                return norm.apply(x);
            }
        }
    }

    private record NormPass(Tensor output, Tensor x, RmsNorm norm) implements Segment.Pass {

        @Override
        public List<Tensor> remembered() {
            return List.of(x);
        }

        @Override
        public Tensor backward(Tensor dOutput) {
            try (AutoGradMode off = new AutoGradMode(false)) {
                return norm.backward(x, dOutput);
            }
        }

        @Override
        public void close() {
            output.close();
        }
    }
}
