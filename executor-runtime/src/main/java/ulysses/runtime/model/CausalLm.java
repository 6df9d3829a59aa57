package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.CoreAttention;
import ulysses.runtime.attention.HeadLayout;
import ulysses.runtime.attention.SequenceLayout;
import ulysses.runtime.attention.UlyssesAttention;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.LocalSegment;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.segment.Segment;
import ulysses.runtime.segment.SegmentChain;
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
    private final List<DecoderLayer> layers = new ArrayList<>();
    private final RmsNorm finalNorm;

    /**
     * How the layers compute.
     *
     * @param device where
     * @param checkpointing whether backward runs their local parts again instead of keeping what they made
     * @param tileElements with checkpointing, elements of an MLP's widest tensor that exist at once
     */
    public record Layers(ParallelConfig.Device device, boolean checkpointing, long tileElements) {

        /** Keep the matrix products of a tile large: 16 MiB in float32 on CPU, 256 MiB in bfloat16 on CUDA; chosen, not tuned. */
        private static final long CPU_TILE = 4L << 20;

        private static final long CUDA_TILE = 128L << 20;

        /** Rows of matrix products come in multiples of this, where there are so many. */
        private static final long ROWS = 128;

        /** With tiles that suit the device. */
        public Layers(ParallelConfig.Device device, boolean checkpointing) {
            this(device, checkpointing, device == ParallelConfig.Device.CPU ? CPU_TILE : CUDA_TILE);
        }

        /** Tokens of one tile of an MLP with {@code width} features inside. */
        long tileTokens(long width) {
            long tokens = Math.max(1, tileElements / width);
            return tokens < ROWS ? tokens : tokens - tokens % ROWS;
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
        HeadLayout heads = new HeadLayout(spec.heads(), spec.kvHeads(), group.size());
        for (int i = 0; i < spec.layers(); i++) {
            CoreAttention core = CoreAttention.on(how.device(), spec.window(i));
            UlyssesAttention attention = new UlyssesAttention(heads, core, group);
            layers.add(new DecoderLayer(spec, i, weights, attention, how));
        }
        this.finalNorm = weights.norm("model.norm", spec.normEpsilon());
    }

    /** The same model over the same parameters with its adapter off: what training started from. Costs no memory. */
    public CausalLm withoutAdapters() {
        return adapter.isEmpty() ? this : new CausalLm(spec, sharing, Optional.empty(), how, group);
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
        boolean trained = embedding.isTrained();
        for (int i = 0; i < layers.size(); i++) {
            DecoderLayer layer = layers.get(i);
            trained |= layer.isTrained();
            (trained ? segments : frozen).add(shared(layer.on(layout, rotation, dropout), i));
        }
        segments.add(part(finalNorm.weight())
                .map(part -> shared(new FinalNorm(finalNorm), part, Optional.empty(), layerPart(layers.size() - 1)))
                .orElseGet(() -> new FinalNorm(finalNorm)));
        return new SegmentChain(frozen, segments);
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

    private record FinalNorm(LocalSegment local) implements Segment {

        FinalNorm(RmsNorm norm) {
            this(new LocalSegment(List.of(norm.weight()), inputs -> new Tensor[] {norm.apply(inputs[0])}));
        }

        @Override
        public Pass forward(Tensor x) {
            Tensor output = TensorScope.own(local.forward(x)[0]);
            return new NormPass(output, x, local);
        }

        @Override
        public Tensor infer(Tensor x) {
            return local.forward(x)[0];
        }
    }

    private record NormPass(Tensor output, Tensor x, LocalSegment local) implements Segment.Pass {

        @Override
        public Tensor backward(Tensor dOutput) {
            try (LocalSegment.Graph graph = local.record(x)) {
                return graph.backward(dOutput)[0];
            }
        }

        @Override
        public void close() {
            output.close();
        }
    }
}
