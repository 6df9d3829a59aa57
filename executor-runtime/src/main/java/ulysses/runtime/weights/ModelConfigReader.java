package ulysses.runtime.weights;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.weights.ModelSpec.Family;

/** Turns one config.json into a {@link ModelSpec}, collecting every reason why it can't be used. */
final class ModelConfigReader {
    static final JsonMapper JSON = JsonMapper.builder()
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .build();

    private static final int MOST_LAYERS = 10_000;

    private final JsonNode config;
    private final String source;
    private final List<String> problems = new ArrayList<>();

    private ModelConfigReader(JsonNode config, String source) {
        this.config = config;
        this.source = source;
    }

    static ModelSpec read(String json, String source) {
        JsonNode config;
        try {
            config = JSON.readTree(json);
        } catch (JsonProcessingException e) {
            throw new WeightsException(
                    "%s is not valid JSON: %s; take the model's own config.json"
                            .formatted(source, e.getOriginalMessage()),
                    e);
        }
        if (config == null || !config.isObject()) {
            throw new WeightsException("%s holds no JSON object; take the model's own config.json".formatted(source));
        }
        return new ModelConfigReader(config, source).spec();
    }

    private ModelSpec spec() {
        String modelType = config.path("model_type").asText("");
        Family family = Family.ofModelType(modelType)
                .orElseThrow(() -> new WeightsException(
                        "%s: model_type '%s' is not supported; use a llama, qwen2, qwen3 or mistral model"
                                .formatted(source, modelType)));
        refuseUnsupported();
        int hidden = positive("hidden_size");
        int layers = layers();
        int heads = positive("num_attention_heads");
        int kvHeads = present("num_key_value_heads") ? positive("num_key_value_heads") : defaultKvHeads(family, heads);
        int headSize = headSize(family, hidden, heads);
        int positions = present("max_position_embeddings") ? positive("max_position_embeddings") : 2048;
        checkHeads(heads, kvHeads, headSize);
        JsonNode rope = RopeScalingReader.entryOf(config);
        boolean bias = config.path("attention_bias").asBoolean(false);
        boolean biasByKey = family == Family.LLAMA || family == Family.QWEN3;
        ModelSpec spec = new ModelSpec(
                family,
                hidden,
                positive("intermediate_size"),
                layers,
                heads,
                kvHeads,
                headSize,
                positive("vocab_size"),
                number("rms_norm_eps", 1e-6),
                rope.path("rope_theta").asDouble(number("rope_theta", 10_000)),
                RopeScalingReader.read(rope, positions, problems),
                positions,
                config.path("tie_word_embeddings").asBoolean(false),
                family == Family.QWEN2 || (biasByKey && bias),
                biasByKey && bias,
                family == Family.LLAMA && config.path("mlp_bias").asBoolean(false),
                number("initializer_range", 0.02),
                windows(family, layers).stream().map(AttentionPattern::window).toList(),
                tokenId("bos_token_id"),
                tokenId("pad_token_id"),
                eosIds(),
                storedType());
        if (!problems.isEmpty()) {
            throw new WeightsException(source + ": " + String.join("\n" + source + ": ", problems));
        }
        return spec;
    }

    private void refuseUnsupported() {
        String activation = config.path("hidden_act").asText("silu");
        if (!activation.equals("silu") && !activation.equals("swish")) {
            problems.add("hidden_act %s is not supported; only silu is, so take another model".formatted(activation));
        }
        if (present("quantization_config")) {
            problems.add("quantization_config %s: quantised weights can't be trained; take the unquantised model"
                    .formatted(config.path("quantization_config")
                            .path("quant_method")
                            .asText("is set")));
        }
        double dropout = number("attention_dropout", 0);
        if (dropout != 0) {
            problems.add("attention_dropout %s is not supported with split sequences; set it to 0".formatted(dropout));
        }
        double rotary = number("partial_rotary_factor", 1);
        if (rotary != 1) {
            problems.add("partial_rotary_factor %s is not supported; only 1 is".formatted(rotary));
        }
    }

    private static int defaultKvHeads(Family family, int heads) {
        return switch (family) {
            case LLAMA -> heads;
            case QWEN2, QWEN3 -> 32;
            case MISTRAL -> 8;
        };
    }

    /** Every layer has parameters with names: a number that no model has would fill the memory with them. */
    private int layers() {
        int layers = positive("num_hidden_layers");
        if (layers > MOST_LAYERS) {
            problems.add("num_hidden_layers is %d; at most %d are possible".formatted(layers, MOST_LAYERS));
            return 1;
        }
        return layers;
    }

    private int headSize(Family family, int hidden, int heads) {
        if (present("head_dim")) {
            return positive("head_dim");
        }
        if (family == Family.QWEN3) {
            return 128;
        }
        if (hidden % heads != 0) {
            problems.add(
                    "hidden_size %d is not divisible by num_attention_heads %d and head_dim is missing; set head_dim"
                            .formatted(hidden, heads));
        }
        return Math.max(1, hidden / heads);
    }

    private void checkHeads(int heads, int kvHeads, int headSize) {
        if (heads % kvHeads != 0) {
            problems.add(
                    "num_attention_heads %d is not a multiple of num_key_value_heads %d; such a model has no meaning here, check its config.json"
                            .formatted(heads, kvHeads));
        }
        if (headSize % 2 != 0) {
            problems.add("head_dim %d is odd; rotary embedding needs an even one".formatted(headSize));
        }
    }

    /** transformers: Mistral's window counts on every layer; Qwen's only if switched on, on the layers that name it. */
    private List<Integer> windows(Family family, int layers) {
        int window = present("sliding_window") ? positive("sliding_window") : 0;
        boolean switchedOn = config.path("use_sliding_window").asBoolean(false);
        return switch (family) {
            case LLAMA -> Collections.nCopies(layers, 0);
            case MISTRAL -> Collections.nCopies(layers, window);
            case QWEN2, QWEN3 -> switchedOn ? windowsByLayer(layers, window) : Collections.nCopies(layers, 0);
        };
    }

    private List<Integer> windowsByLayer(int layers, int window) {
        JsonNode types = config.path("layer_types");
        if (!types.isArray()) {
            int full = config.path("max_window_layers").asInt(28);
            return IntStream.range(0, layers)
                    .mapToObj(layer -> layer >= full ? window : 0)
                    .toList();
        }
        if (types.size() != layers) {
            problems.add("layer_types names %d layers but num_hidden_layers is %d; make them agree"
                    .formatted(types.size(), layers));
            return Collections.nCopies(layers, 0);
        }
        return IntStream.range(0, layers)
                .mapToObj(layer -> windowOf(types.path(layer).asText(), window))
                .toList();
    }

    private int windowOf(String layerType, int window) {
        if (layerType.equals("sliding_attention")) {
            return window;
        }
        if (!layerType.equals("full_attention")) {
            problems.add("layer_types entry %s is not supported; only full_attention and sliding_attention are"
                    .formatted(layerType));
        }
        return 0;
    }

    private @Nullable Integer tokenId(String key) {
        JsonNode id = config.path(key);
        return id.isInt() && id.asInt() >= 0 ? (Integer) id.asInt() : null;
    }

    private List<Integer> eosIds() {
        JsonNode ids = config.path("eos_token_id");
        if (ids.isArray()) {
            return IntStream.range(0, ids.size())
                    .mapToObj(i -> ids.path(i).asInt())
                    .toList();
        }
        return ids.isNumber() ? List.of(ids.asInt()) : List.of();
    }

    private @Nullable DataType storedType() {
        String name = config.path(present("dtype") ? "dtype" : "torch_dtype").asText("");
        return DataType.ofTorchName(name).orElse(null);
    }

    private boolean present(String key) {
        return config.hasNonNull(key);
    }

    private int positive(String key) {
        JsonNode value = config.path(key);
        if (!value.canConvertToInt() || value.asInt() < 1) {
            problems.add("%s is %s; it must be a whole number above 0"
                    .formatted(key, value.isMissingNode() ? "missing" : value));
            return 1;
        }
        return value.asInt();
    }

    private double number(String key, double otherwise) {
        JsonNode value = config.path(key);
        if (value.isMissingNode() || value.isNull()) {
            return otherwise;
        }
        if (!value.isNumber() || !(value.asDouble() >= 0)) {
            problems.add("%s is %s; it must be a number from 0".formatted(key, value));
            return otherwise;
        }
        return value.asDouble();
    }
}
