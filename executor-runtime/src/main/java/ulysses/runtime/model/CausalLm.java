package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.CoreAttention;
import ulysses.runtime.attention.HeadLayout;
import ulysses.runtime.attention.SequenceLayout;
import ulysses.runtime.attention.UlyssesAttention;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.LocalSegment;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.segment.Segment;
import ulysses.runtime.segment.SegmentChain;
import ulysses.runtime.weights.ModelSpec;

/**
 * A decoder-only language model whose sequence is split over a sequence-parallel group: embedding, layers, final norm; the head
 * belongs to the objective, which never computes it for a token that does not count. It holds no native memory of its own:
 * {@link Parameters} do.
 */
public final class CausalLm {

    private final ModelSpec spec;
    private final Parameters parameters;
    private final Parameter embedding;
    private final RotaryEmbedding rotary;
    private final List<DecoderLayer> layers = new ArrayList<>();
    private final RmsNorm finalNorm;

    /** How the layers compute: where, and whether backward runs their local parts again. */
    public record Layers(ParallelConfig.Device device, boolean checkpointing) {}

    /** A model over {@code parameters}; {@code group} shares its sequences. */
    public CausalLm(ModelSpec spec, Parameters parameters, Layers how, Collectives group) {
        this.spec = spec;
        this.parameters = parameters;
        this.embedding = parameters.get(ModelSpec.EMBEDDING);
        this.rotary = new RotaryEmbedding(spec);
        HeadLayout heads = new HeadLayout(spec.heads(), spec.kvHeads(), group.size());
        for (int i = 0; i < spec.layers(); i++) {
            CoreAttention core = CoreAttention.on(how.device(), spec.window(i));
            UlyssesAttention attention = new UlyssesAttention(heads, core, group);
            layers.add(new DecoderLayer(spec, i, parameters, attention, how.checkpointing()));
        }
        this.finalNorm = new RmsNorm(parameters.get("model.norm.weight"), spec.normEpsilon());
    }

    /** The parameters. */
    public Parameters parameters() {
        return parameters;
    }

    /** The head's weight [V,D]: the embedding's where they are tied. */
    public Parameter head() {
        return spec.tiedHead() ? embedding : parameters.get(ModelSpec.HEAD);
    }

    /** This rank's hidden states [s,D] of token ids [s], before the first layer; they belong to the caller's scope. */
    public Tensor embed(int[] ids) {
        try (TensorScope scope = TensorScope.open()) {
            return scope.keep(embedding.value().detach().index_select(0, index(ids)));
        }
    }

    /**
     * Backward of {@link #embed}: adds gradients [s,D] to the rows of the embedding. The row of the model's padding token gets none,
     * as in torch's Embedding with a padding index.
     */
    public void embedBackward(int[] ids, Tensor dHidden) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor index = index(ids);
            Tensor gradient = dHidden.to(torch.ScalarType.Float);
            if (spec.padId() != null) {
                gradient =
                        gradient.masked_fill(index.eq(new Scalar(spec.padId())).unsqueeze(1), new Scalar(0.0));
            }
            embedding.gradient().index_add_(0, index, gradient);
        }
    }

    private Tensor index(int[] ids) {
        return torch.tensor(ids).to(embedding.value().device(), torch.ScalarType.Long);
    }

    /**
     * Layers and final norm for one micro-batch, [s,D] to [s,D].
     *
     * @param layout documents of the whole stream
     * @param positions of this rank's tokens [s], restarting in each document
     */
    public Segment on(SequenceLayout layout, int[] positions) {
        Tensor like = embedding.value();
        RotaryEmbedding.Rotation rotation = rotary.at(positions, layout.longest(), like);
        List<Segment> segments = new ArrayList<>();
        for (DecoderLayer layer : layers) {
            segments.add(layer.on(layout, rotation));
        }
        segments.add(new FinalNorm(finalNorm));
        return new SegmentChain(segments);
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
