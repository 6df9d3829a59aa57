package ulysses.runtime.weights;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.TrainingConfig;

/**
 * The shape of a decoder-only language model, read from config.json in either dialect (transformers 4 or 5).
 *
 * @param family which of the supported architectures
 * @param hiddenSize {@code hidden_size}, D
 * @param mlpSize {@code intermediate_size}, F
 * @param layers {@code num_hidden_layers}
 * @param heads {@code num_attention_heads}, N
 * @param kvHeads {@code num_key_value_heads}, K
 * @param headSize {@code head_dim}, or hiddenSize / heads, H
 * @param vocabularySize {@code vocab_size}, V
 * @param normEpsilon {@code rms_norm_eps}
 * @param ropeTheta {@code rope_theta}
 * @param ropeScaling {@code rope_scaling} or {@code rope_parameters}
 * @param maxPositions {@code max_position_embeddings}
 * @param tiedHead {@code tie_word_embeddings}: the head is the embedding
 * @param attentionBias whether q, k and v projections have a bias
 * @param outputBias whether the projection behind attention has a bias
 * @param mlpBias whether the MLP's projections have a bias
 * @param initializerRange {@code initializer_range}: standard deviation of random weights
 * @param patterns per layer which keys a query sees
 * @param bosId {@code bos_token_id}
 * @param padId {@code pad_token_id}: transformers gives this row of the embedding no gradient; null when there is none
 * @param eosIds {@code eos_token_id}, none, one or several
 * @param storedType {@code dtype} or {@code torch_dtype}; null when config.json names none
 */
public record ModelSpec(
        Family family,
        int hiddenSize,
        int mlpSize,
        int layers,
        int heads,
        int kvHeads,
        int headSize,
        int vocabularySize,
        double normEpsilon,
        double ropeTheta,
        RopeScaling ropeScaling,
        int maxPositions,
        boolean tiedHead,
        boolean attentionBias,
        boolean outputBias,
        boolean mlpBias,
        double initializerRange,
        List<AttentionPattern> patterns,
        @Nullable Integer bosId,
        @Nullable Integer padId,
        List<Integer> eosIds,
        @Nullable DataType storedType) {

    /** The name of the embedding, and of a tied head. */
    public static final String EMBEDDING = "model.embed_tokens.weight";

    /** The name of an untied head. */
    public static final String HEAD = "lm_head.weight";

    /** The supported architectures. */
    public enum Family {
        LLAMA("llama", "LlamaForCausalLM"),
        QWEN2("qwen2", "Qwen2ForCausalLM"),
        QWEN3("qwen3", "Qwen3ForCausalLM"),
        MISTRAL("mistral", "MistralForCausalLM");

        private final String modelType;
        private final String architecture;

        Family(String modelType, String architecture) {
            this.modelType = modelType;
            this.architecture = architecture;
        }

        /** {@code model_type} of config.json. */
        public String modelType() {
            return modelType;
        }

        /** {@code architectures} of config.json. */
        public String architecture() {
            return architecture;
        }

        /** Whether each head's query and key are normalised before rotary embedding. */
        public boolean queryKeyNorm() {
            return this == QWEN3;
        }

        static Optional<Family> ofModelType(String modelType) {
            return Arrays.stream(values())
                    .filter(family -> family.modelType.equals(modelType))
                    .findFirst();
        }
    }

    public ModelSpec {
        patterns = List.copyOf(patterns);
        eosIds = List.copyOf(eosIds);
        if (patterns.size() != layers) {
            throw new IllegalArgumentException("%d patterns for %d layers".formatted(patterns.size(), layers));
        }
    }

    /** Reads {@code config.json}; {@code source} names it in messages. Throws {@link WeightsException} with all its problems. */
    public static ModelSpec parse(String json, String source) {
        return ModelConfigReader.read(json, source);
    }

    /** Which keys a query of {@code layer} sees. */
    public AttentionPattern pattern(int layer) {
        return patterns.get(layer);
    }

    /** {@code architectures} of config.json. */
    public String architecture() {
        return family.architecture();
    }

    /**
     * This model with the rotary scaling that LLaMA-Factory's {@code rope_scaling: type} gives it (0.9.5, {@code rope.py}): the
     * factor is the cutoff length over the original positions, rounded up, and the positions grow by it. A cutoff length that
     * fits the original positions changes nothing.
     *
     * @param type linear, dynamic, yarn or llama3
     * @param cutoffLength {@code cutoff_len}
     */
    public ModelSpec withRopeScaling(String type, int cutoffLength) {
        int original = originalPositions();
        if (cutoffLength <= original) {
            return this;
        }
        int factor = (cutoffLength - 1) / original + 1;
        int enlarged = Math.multiplyExact(original, factor);
        RopeScaling scaling = switch (type) {
            case "linear" -> new RopeScaling.Linear(factor);
            case "dynamic" -> new RopeScaling.Dynamic(factor, enlarged);
            case "llama3" -> new RopeScaling.Llama3(factor, 1, 4, original);
            case "yarn" ->
                new RopeScaling.Yarn(
                        factor, original, 32, 1, RopeScaling.Yarn.suggestedAttentionFactor(factor, 1), true);
            default ->
                throw new WeightsException(
                        "rope_scaling %s is not known; use linear, dynamic, yarn or llama3".formatted(type));
        };
        return with(scaling, enlarged, tiedHead, patterns);
    }

    /**
     * This model with the attention that {@code asked} makes of its own.
     *
     * @throws WeightsException when sinks are asked for and no layer has a window
     */
    public ModelSpec withAttention(TrainingConfig.Attention asked) {
        List<AttentionPattern> changed = IntStream.range(0, layers)
                .mapToObj(layer -> asked.of(layer, pattern(layer)))
                .toList();
        if (asked.sinks() > 0 && changed.stream().allMatch(AttentionPattern::isDense)) {
            throw new WeightsException(
                    "attention_sinks %d: no layer of the model has a sliding window, so every query sees them anyway; set attention_window, or leave attention_sinks out"
                            .formatted(asked.sinks()));
        }
        return with(ropeScaling, maxPositions, tiedHead, changed);
    }

    /** This model with a head of its own. */
    public ModelSpec withUntiedHead() {
        return with(ropeScaling, maxPositions, false, patterns);
    }

    private int originalPositions() {
        if (ropeScaling instanceof RopeScaling.Llama3 llama3) {
            return llama3.originalPositions();
        }
        return ropeScaling instanceof RopeScaling.Yarn yarn ? yarn.originalPositions() : maxPositions;
    }

    private ModelSpec with(RopeScaling scaling, int positions, boolean tied, List<AttentionPattern> attention) {
        return new ModelSpec(
                family,
                hiddenSize,
                mlpSize,
                layers,
                heads,
                kvHeads,
                headSize,
                vocabularySize,
                normEpsilon,
                ropeTheta,
                scaling,
                positions,
                tied,
                attentionBias,
                outputBias,
                mlpBias,
                initializerRange,
                attention,
                bosId,
                padId,
                eosIds,
                storedType);
    }

    /** All parameters in the order of transformers' modules; a tied head has no entry of its own. */
    public List<ParameterSpec> parameters() {
        List<ParameterSpec> parameters = new ArrayList<>();
        parameters.add(new ParameterSpec(EMBEDDING, new long[] {vocabularySize, hiddenSize}, true));
        for (int layer = 0; layer < layers; layer++) {
            addLayer(parameters, "model.layers." + layer + ".");
        }
        parameters.add(norm("model.norm", hiddenSize));
        if (!tiedHead) {
            parameters.add(new ParameterSpec(HEAD, new long[] {vocabularySize, hiddenSize}, true));
        }
        return List.copyOf(parameters);
    }

    private void addLayer(List<ParameterSpec> parameters, String layer) {
        addLinear(parameters, layer + "self_attn.q_proj", heads * headSize, hiddenSize, attentionBias);
        addLinear(parameters, layer + "self_attn.k_proj", kvHeads * headSize, hiddenSize, attentionBias);
        addLinear(parameters, layer + "self_attn.v_proj", kvHeads * headSize, hiddenSize, attentionBias);
        addLinear(parameters, layer + "self_attn.o_proj", hiddenSize, heads * headSize, outputBias);
        if (family.queryKeyNorm()) {
            parameters.add(norm(layer + "self_attn.q_norm", headSize));
            parameters.add(norm(layer + "self_attn.k_norm", headSize));
        }
        addLinear(parameters, layer + "mlp.gate_proj", mlpSize, hiddenSize, mlpBias);
        addLinear(parameters, layer + "mlp.up_proj", mlpSize, hiddenSize, mlpBias);
        addLinear(parameters, layer + "mlp.down_proj", hiddenSize, mlpSize, mlpBias);
        parameters.add(norm(layer + "input_layernorm", hiddenSize));
        parameters.add(norm(layer + "post_attention_layernorm", hiddenSize));
    }

    private static ParameterSpec norm(String module, int size) {
        return new ParameterSpec(module + ".weight", new long[] {size}, false);
    }

    private static void addLinear(
            List<ParameterSpec> parameters, String module, int outputs, int inputs, boolean bias) {
        parameters.add(new ParameterSpec(module + ".weight", new long[] {outputs, inputs}, true));
        if (bias) {
            parameters.add(new ParameterSpec(module + ".bias", new long[] {outputs}, false));
        }
    }

    /** Number of trained numbers; a tied head counts once. */
    public long parameterCount() {
        return parameters().stream().mapToLong(ParameterSpec::elements).sum();
    }

    /** As transformers counts for {@code total_flos}: all parameters but the embedding (and so but a tied head). */
    public long nonEmbeddingParameterCount() {
        return parameterCount() - (long) vocabularySize * hiddenSize;
    }

    /**
     * Floating-point operations of forward and backward for one document, recomputation left out: 6 per token and weight of a matrix
     * product (head included, embedding not), and 12 * heads * headSize per layer and pair of a query and a key that it sees.
     */
    public double flopsOfDocument(long tokens) {
        double attention =
                patterns.stream().mapToDouble(pattern -> pattern.pairs(tokens)).sum();
        return productsPerToken() * tokens + 12.0 * heads * headSize * attention;
    }

    private double productsPerToken() {
        long headWeights = (long) vocabularySize * hiddenSize;
        return 6.0 * (nonEmbeddingParameterCount() + (tiedHead ? headWeights : 0));
    }
}
