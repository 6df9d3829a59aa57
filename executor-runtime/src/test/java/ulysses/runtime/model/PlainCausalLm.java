package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.PlainAttention;
import ulysses.runtime.attention.SequenceLayout;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Autograd;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.weights.ModelSpec;

/**
 * Fixture: the model once more, as simply as it can be written: float64, one rank, whole sequence, all scores, all logits, one graph
 * of autograd.
 */
public final class PlainCausalLm {

    private final ModelSpec spec;
    private final List<String> names;

    /** Loss and the gradients of all parameters by name. */
    public record Result(double loss, Map<String, double[]> gradients) {}

    /** A model of this shape. */
    public PlainCausalLm(ModelSpec spec) {
        this.spec = spec;
        this.names = spec.parameters().stream().map(p -> p.name()).toList();
    }

    /** Mean loss of {@code batch} over its trained tokens with the weights of {@code parameters}, and its gradients. */
    public Result lossAndGradients(Parameters parameters, MicroBatch batch) {
        try (TensorScope scope = TensorScope.open()) {
            List<Tensor> weights = new ArrayList<>();
            for (Parameter parameter : parameters.all()) {
                weights.add(parameter.value().detach().to(torch.ScalarType.Double));
            }
            Tensor one = TensorArrays.tensor(new double[] {1}, 1);
            Autograd.Result result = Autograd.of(leaves -> loss(byName(leaves), batch), weights, one);
            Map<String, double[]> gradients = new LinkedHashMap<>();
            for (int i = 0; i < names.size(); i++) {
                gradients.put(
                        names.get(i), TensorArrays.values(result.gradients().get(i)));
            }
            return new Result(result.output().item_double(), gradients);
        }
    }

    private Map<String, Tensor> byName(List<Tensor> leaves) {
        Map<String, Tensor> weights = new LinkedHashMap<>();
        for (int i = 0; i < names.size(); i++) {
            weights.put(names.get(i), leaves.get(i));
        }
        return weights;
    }

    private Tensor loss(Map<String, Tensor> weights, MicroBatch batch) {
        SequenceLayout layout = new SequenceLayout(batch.documentEnds());
        Tensor hidden = get(weights, ModelSpec.EMBEDDING).index_select(0, index(batch.ids())); // [S,D]
        for (int i = 0; i < spec.layers(); i++) {
            String layer = "model.layers." + i + ".";
            Tensor attended = attention(
                    weights, layer + "self_attn.", norm(weights, layer + "input_layernorm", hidden), batch, layout, i);
            hidden = hidden.add(attended);
            Tensor normed = norm(weights, layer + "post_attention_layernorm", hidden);
            Tensor gate = linear(weights, layer + "mlp.gate_proj", normed);
            Tensor gated = gate.mul(torch.sigmoid(gate)).mul(linear(weights, layer + "mlp.up_proj", normed));
            hidden = hidden.add(linear(weights, layer + "mlp.down_proj", gated));
        }
        Tensor head = get(weights, spec.tiedHead() ? ModelSpec.EMBEDDING : ModelSpec.HEAD);
        Tensor logits = norm(weights, "model.norm", hidden).matmul(head.t()); // [S,V]
        return crossEntropy(torch.log_softmax(logits, 1), batch);
    }

    private static Tensor crossEntropy(Tensor logProbabilities, MicroBatch batch) {
        int[] counting = IntStream.range(0, batch.length())
                .filter(t -> batch.targets()[t] != PackedRow.IGNORE_INDEX)
                .toArray();
        int[] targets = IntStream.of(counting).map(t -> batch.targets()[t]).toArray();
        Tensor picked = logProbabilities
                .index_select(0, index(counting))
                .gather(1, index(targets).unsqueeze(1));
        return picked.sum()
                .neg()
                .div(new Scalar((double) batch.trainedTokens()))
                .view(1);
    }

    private Tensor attention(
            Map<String, Tensor> weights, String self, Tensor x, MicroBatch batch, SequenceLayout layout, int layer) {
        Tensor q = heads(linear(weights, self + "q_proj", x), spec.heads()); // [S,N,H]
        Tensor k = heads(linear(weights, self + "k_proj", x), spec.kvHeads()); // [S,K,H]
        Tensor v = heads(linear(weights, self + "v_proj", x), spec.kvHeads()); // [S,K,H]
        if (spec.family().queryKeyNorm()) {
            q = norm(weights, self + "q_norm", q);
            k = norm(weights, self + "k_norm", k);
        }
        Tensor out = PlainAttention.apply(
                rotated(q, batch.positions()), rotated(k, batch.positions()), v, layout, spec.pattern(layer));
        return linear(weights, self + "o_proj", out.reshape(x.size(0), (long) spec.heads() * spec.headSize()));
    }

    /** Each pair (x1, x2) of halves turned by position times frequency; angles in float32 as the model has them. */
    private Tensor rotated(Tensor x, int[] positions) {
        float[] frequencies = new RotaryEmbedding(spec).inverseFrequencies(positions.length);
        int half = frequencies.length;
        double[] cos = new double[positions.length * half];
        double[] sin = new double[positions.length * half];
        for (int t = 0; t < positions.length; t++) {
            for (int i = 0; i < half; i++) {
                float angle = positions[t] * frequencies[i];
                cos[t * half + i] = Math.cos(angle);
                sin[t * half + i] = Math.sin(angle);
            }
        }
        Tensor c = TensorArrays.tensor(cos, positions.length, 1, half);
        Tensor s = TensorArrays.tensor(sin, positions.length, 1, half);
        Tensor first = x.narrow(2, 0, half);
        Tensor second = x.narrow(2, half, half);
        return torch.cat(
                new TensorVector(first.mul(c).sub(second.mul(s)), second.mul(c).add(first.mul(s))), 2);
    }

    private Tensor norm(Map<String, Tensor> weights, String module, Tensor x) {
        Tensor meanOfSquares = x.mul(x).sum(new long[] {-1}, true, null).div(new Scalar((double) x.size(x.dim() - 1)));
        Tensor scale = meanOfSquares.add(new Scalar(spec.normEpsilon())).rsqrt();
        return x.mul(scale).mul(get(weights, module + ".weight"));
    }

    private static Tensor linear(Map<String, Tensor> weights, String module, Tensor x) {
        Tensor y = x.matmul(get(weights, module + ".weight").t());
        Tensor bias = weights.get(module + ".bias");
        return bias == null ? y : y.add(bias);
    }

    private Tensor heads(Tensor x, long count) {
        return x.view(x.size(0), count, spec.headSize());
    }

    private static Tensor get(Map<String, Tensor> weights, String name) {
        Tensor found = weights.get(name);
        if (found == null) {
            throw new AssertionError("no weight " + name);
        }
        return found;
    }

    private static Tensor index(int[] values) {
        return torch.tensor(values).to(torch.ScalarType.Long);
    }
}
