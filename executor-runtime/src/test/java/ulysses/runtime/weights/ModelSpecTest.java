package ulysses.runtime.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.junit.jupiter.api.Test;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.TrainingConfig.Attention;
import ulysses.runtime.weights.ModelSpec.Family;

final class ModelSpecTest {
    private static final String LLAMA = """
            {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 176,
             "num_hidden_layers": 2, "num_attention_heads": 8, "num_key_value_heads": 2, "vocab_size": 512,
             "rms_norm_eps": 1e-05, "hidden_act": "silu", "max_position_embeddings": 2048, "bos_token_id": 1,
             "eos_token_id": [2, 5], "initializer_range": 0.05, "tie_word_embeddings": false%s}""";
    private static final String QWEN = """
            {"model_type": "qwen%d", "hidden_size": 112, "intermediate_size": 72, "num_hidden_layers": 3,
             "num_attention_heads": 14, "num_key_value_heads": 2, "vocab_size": 288, "max_position_embeddings": 2048,
             "tie_word_embeddings": true, "sliding_window": 32%s}""";

    private static ModelSpec llama(String more) {
        return ModelSpec.parse(LLAMA.formatted(more), "config.json");
    }

    private static ModelSpec qwen(int generation, String more) {
        return ModelSpec.parse(QWEN.formatted(generation, more), "config.json");
    }

    @Test
    void readsTheSameFromBothDialects() {
        ModelSpec four = llama(", \"rope_theta\": 5e5, \"rope_scaling\": null, \"torch_dtype\": \"bfloat16\"");

        ModelSpec five = llama(
                ", \"head_dim\": 8, \"rope_parameters\": {\"rope_theta\": 5e5, \"rope_type\": \"default\"}, \"dtype\": \"bfloat16\"");

        assertThat(five).isEqualTo(four);
        assertThat(four.family()).isEqualTo(Family.LLAMA);
        assertThat(four.headSize()).isEqualTo(8);
        assertThat(four.ropeTheta()).isEqualTo(5e5);
        assertThat(four.normEpsilon()).isEqualTo(1e-5);
        assertThat(four.eosIds()).containsExactly(2, 5);
        assertThat(four.bosId()).isEqualTo(1);
        assertThat(four.padId()).isNull();
        assertThat(llama(", \"pad_token_id\": 3").padId()).isEqualTo(3);
        assertThat(four.storedType()).isEqualTo(DataType.BF16);
        assertThat(windows(four)).containsExactly(0, 0);
    }

    @Test
    void namesParametersInModuleOrderWithDecayOnMatricesOnly() {
        List<ParameterSpec> parameters = qwen(3, ", \"head_dim\": 8").parameters();

        assertThat(parameters.stream().map(ParameterSpec::name).limit(12))
                .containsExactly(
                        "model.embed_tokens.weight",
                        "model.layers.0.self_attn.q_proj.weight",
                        "model.layers.0.self_attn.k_proj.weight",
                        "model.layers.0.self_attn.v_proj.weight",
                        "model.layers.0.self_attn.o_proj.weight",
                        "model.layers.0.self_attn.q_norm.weight",
                        "model.layers.0.self_attn.k_norm.weight",
                        "model.layers.0.mlp.gate_proj.weight",
                        "model.layers.0.mlp.up_proj.weight",
                        "model.layers.0.mlp.down_proj.weight",
                        "model.layers.0.input_layernorm.weight",
                        "model.layers.0.post_attention_layernorm.weight");
        assertThat(parameters.get(parameters.size() - 1).name()).isEqualTo("model.norm.weight");
        assertThat(parameters)
                .allSatisfy(p -> assertThat(p.decayed()).as(p.name()).isEqualTo(p.shape().length == 2));
        assertThat(parameters.get(2).shape()).containsExactly(16, 112);
    }

    @Test
    void biasesBelongToTheFamily() {
        assertThat(names(qwen(2, ""))).contains("model.layers.2.self_attn.v_proj.bias");
        assertThat(names(qwen(2, ""))).doesNotContain("model.layers.2.self_attn.o_proj.bias", "lm_head.weight");
        assertThat(names(llama(""))).contains("lm_head.weight").noneMatch(name -> name.endsWith(".bias"));
        assertThat(names(llama(", \"attention_bias\": true, \"mlp_bias\": true")))
                .contains("model.layers.0.self_attn.o_proj.bias", "model.layers.1.mlp.down_proj.bias");
    }

    private static List<String> names(ModelSpec spec) {
        return spec.parameters().stream().map(ParameterSpec::name).toList();
    }

    @Test
    void countsParametersAndOperationsAsTransformersDoes() {
        ModelSpec spec = llama("");

        assertThat(spec.parameterCount()).isEqualTo(153_920);
        assertThat(spec.nonEmbeddingParameterCount()).isEqualTo(153_920 - 512 * 64);
        assertThat(spec.flopsOfDocument(100)).isEqualTo(600.0 * (153_920 - 512 * 64) + 2 * 12.0 * 8 * 8 * 5050);
    }

    @Test
    void qwenHasAWindowOnlyWhenSwitchedOn() {
        assertThat(windows(qwen(2, ", \"use_sliding_window\": false"))).containsExactly(0, 0, 0);
        assertThat(windows(qwen(2, ", \"use_sliding_window\": true, \"max_window_layers\": 1")))
                .containsExactly(0, 32, 32);
        assertThat(
                        windows(
                                qwen(
                                        3,
                                        ", \"use_sliding_window\": true, \"layer_types\": [\"sliding_attention\", \"full_attention\", \"full_attention\"]")))
                .containsExactly(32, 0, 0);
    }

    @Test
    void aRunMayAskForOtherAttention() {
        ModelSpec mixed = qwen(2, ", \"use_sliding_window\": true, \"max_window_layers\": 1");
        AttentionPattern near = new AttentionPattern(16, 4, 16);
        AttentionPattern far = new AttentionPattern(16, 8, 0);

        assertThat(mixed.withAttention(Attention.OF_THE_MODEL)).isEqualTo(mixed);
        assertThat(mixed.withAttention(new Attention(0, 4, List.of())).patterns())
                .containsExactly(
                        AttentionPattern.DENSE, new AttentionPattern(1, 32, 4), new AttentionPattern(1, 32, 4));
        assertThat(mixed.withAttention(new Attention(8, 2, List.of())).patterns())
                .containsOnly(new AttentionPattern(1, 8, 2));
        assertThat(mixed.withAttention(new Attention(0, 0, List.of(near, far))).patterns())
                .containsExactly(near, far, near);
        assertThatThrownBy(() -> llama("").withAttention(new Attention(0, 4, List.of())))
                .isInstanceOf(WeightsException.class)
                .hasMessage(
                        "attention_sinks 4: no layer of the model has a sliding window, so every query sees them anyway; set attention_window, or leave attention_sinks out");
    }

    private static List<Integer> windows(ModelSpec spec) {
        assertThat(spec.patterns()).allMatch(AttentionPattern::isPlainWindow);
        return spec.patterns().stream().map(AttentionPattern::localBlocks).toList();
    }

    @Test
    void mistralHasItsWindowOnEveryLayer() {
        ModelSpec spec = ModelSpec.parse(
                LLAMA.formatted(", \"sliding_window\": 24").replace("\"llama\"", "\"mistral\""), "config.json");

        assertThat(windows(spec)).containsExactly(24, 24);
    }

    @Test
    void readsEveryRopeScaling() {
        assertThat(llama(", \"rope_scaling\": {\"type\": \"linear\", \"factor\": 2.0}")
                        .ropeScaling())
                .isEqualTo(new RopeScaling.Linear(2));
        assertThat(llama(", \"rope_scaling\": {\"type\": \"dynamic\", \"factor\": 2.0}")
                        .ropeScaling())
                .isEqualTo(new RopeScaling.Dynamic(2, 2048));
        assertThat(llama(", \"rope_scaling\": {\"rope_type\": \"llama3\", \"factor\": 8, \"high_freq_factor\": 4,"
                                + " \"low_freq_factor\": 1, \"original_max_position_embeddings\": 256}")
                        .ropeScaling())
                .isEqualTo(new RopeScaling.Llama3(8, 1, 4, 256));
        assertThat(llama(", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 4}")
                        .ropeScaling())
                .isEqualTo(new RopeScaling.Yarn(4, 2048, 32, 1, 0.1 * Math.log(4) + 1, true));
    }

    @Test
    void yarnTakesItsAttentionFactorFromBothMscales() {
        RopeScaling scaling = llama(", \"rope_scaling\": {\"rope_type\": \"yarn\", \"factor\": 40, \"mscale\": 1.0,"
                        + " \"mscale_all_dim\": 0.5, \"original_max_position_embeddings\": 64}")
                .ropeScaling();

        assertThat(scaling)
                .isInstanceOfSatisfying(
                        RopeScaling.Yarn.class,
                        yarn -> assertThat(yarn.attentionFactor())
                                .isCloseTo((0.1 * Math.log(40) + 1) / (0.05 * Math.log(40) + 1), within(1e-15)));
    }

    @Test
    void ropeScalingOfTheUserFollowsLlamaFactory() {
        ModelSpec spec = llama("");

        assertThat(spec.withRopeScaling("yarn", 2048)).isEqualTo(spec);
        assertThat(spec.withRopeScaling("linear", 5000).ropeScaling()).isEqualTo(new RopeScaling.Linear(3));
        assertThat(spec.withRopeScaling("linear", 5000).maxPositions()).isEqualTo(6144);
        assertThat(spec.withRopeScaling("dynamic", 4096).ropeScaling()).isEqualTo(new RopeScaling.Dynamic(2, 4096));
        assertThat(spec.withRopeScaling("llama3", 4097).ropeScaling()).isEqualTo(new RopeScaling.Llama3(3, 1, 4, 2048));
        assertThatThrownBy(() -> spec.withRopeScaling("ntk", 4097))
                .hasMessage("rope_scaling ntk is not known; use linear, dynamic, yarn or llama3");
    }

    @Test
    void refusesWhatItCantTrainAndSaysWhy() {
        refused(LLAMA.formatted("").replace("\"llama\"", "\"gemma2\""), "model_type 'gemma2' is not supported");
        refused(LLAMA.formatted("").replace("silu", "gelu"), "hidden_act gelu is not supported; only silu");
        refused(
                LLAMA.formatted(", \"quantization_config\": {\"quant_method\": \"awq\"}"),
                "quantization_config awq: quantised weights can't be trained");
        refused(LLAMA.formatted(", \"attention_dropout\": 0.1"), "attention_dropout 0.1");
        refused(LLAMA.formatted(", \"partial_rotary_factor\": 0.5"), "partial_rotary_factor 0.5");
        refused(LLAMA.formatted(", \"rope_scaling\": {\"rope_type\": \"longrope\"}"), "rope scaling longrope");
        refused(LLAMA.formatted("").replace("\"vocab_size\": 512,", ""), "vocab_size is missing");
        refused(
                LLAMA.formatted("").replace("_heads\": 8", "_heads\": 9"),
                "9 is not a multiple of num_key_value_heads 2");
        refused("{\"model_type\": ", "config.json is not valid JSON");
        String document = "{\"some_key\": [".repeat(400) + "]}".repeat(400);
        refused(
                LLAMA.formatted("").replace("\"vocab_size\": 512", "\"vocab_size\": " + document),
                "vocab_size is {\"some_key\":[{\"some_key\":[");
        refused("[]", "config.json holds no JSON object");
    }

    @Test
    void reportsAllProblemsAtOnce() {
        assertThatThrownBy(() -> ModelSpec.parse(
                        LLAMA.formatted("")
                                .replace("silu", "gelu")
                                .replace("\"vocab_size\": 512", "\"vocab_size\": -1"),
                        "config.json"))
                .isInstanceOf(WeightsException.class)
                .hasMessageContaining("hidden_act")
                .hasMessageContaining("vocab_size is -1; it must be a whole number above 0");
    }

    private static void refused(String json, String message) {
        assertThatThrownBy(() -> ModelSpec.parse(json, "config.json"))
                .isInstanceOf(WeightsException.class)
                .hasMessageContaining(message)
                .satisfies(refusal -> assertThat(refusal.getMessage()).hasSizeLessThan(4500));
    }
}
