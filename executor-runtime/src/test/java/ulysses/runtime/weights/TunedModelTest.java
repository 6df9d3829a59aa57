package ulysses.runtime.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.config.TuningConfig;
import ulysses.runtime.config.TuningConfig.Stage;

/** What is trained of a model, by LLaMA-Factory's rules, and adapters as PEFT wrote them. */
class TunedModelTest {
    private static final Path REFERENCE =
            Path.of("src", "test", "resources", "reference").toAbsolutePath();
    private static final Path ADAPTERS = REFERENCE.resolve("cases/tiny-llama/lora");
    private static final Configuration HADOOP = new Configuration(false);
    private static final ModelSpec LLAMA = model("tiny-llama").spec();
    private static final ModelSpec TIED = model("tiny-qwen2").spec();

    @TempDir
    private Path folder;

    @Test
    void allMeansEveryLinearModuleButTheHead() {
        TunedModel tuned = TunedModel.of(lora(List.of("all"), List.of()), LLAMA, HADOOP);

        assertThat(tuned.plan().frozen()).isEqualTo(LLAMA.parameters());
        assertThat(tuned.adapter().orElseThrow().targetModules())
                .containsExactly("down_proj", "gate_proj", "k_proj", "o_proj", "q_proj", "up_proj", "v_proj");
        assertThat(names(tuned))
                .hasSize(2 * 7 * 2)
                .startsWith(
                        "base_model.model.model.layers.0.self_attn.q_proj.lora_A.weight",
                        "base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight");
        assertThat(tuned.plan().trained().get(1).shape()).containsExactly(64, 4);
    }

    @Test
    void namesAreEndsOfModuleNames() {
        assertThat(names(TunedModel.of(
                        lora(List.of("self_attn.v_proj", "layers.1.mlp.up_proj"), List.of()), LLAMA, HADOOP)))
                .containsExactly(
                        "base_model.model.model.layers.0.self_attn.v_proj.lora_A.weight",
                        "base_model.model.model.layers.0.self_attn.v_proj.lora_B.weight",
                        "base_model.model.model.layers.1.self_attn.v_proj.lora_A.weight",
                        "base_model.model.model.layers.1.self_attn.v_proj.lora_B.weight",
                        "base_model.model.model.layers.1.mlp.up_proj.lora_A.weight",
                        "base_model.model.model.layers.1.mlp.up_proj.lora_B.weight");
    }

    @Test
    void additionalTargetsAreBroughtWholeAndHaveNoLora() {
        List<String> names = names(TunedModel.of(lora(List.of("all"), List.of("lm_head", "q_proj")), TIED, HADOOP));

        assertThat(names)
                .contains(
                        "base_model.model.lm_head.weight",
                        "base_model.model.model.layers.0.self_attn.q_proj.weight",
                        "base_model.model.model.layers.0.self_attn.q_proj.bias")
                .noneMatch(name -> name.contains("q_proj.lora"));
    }

    @Test
    void loraPlusGivesBItsOwnRate() {
        TuningConfig.Lora tuning = new TuningConfig.Lora(
                Stage.SFT, 4, 8, 0, List.of("q_proj"), List.of("model.norm"), false, 16, List.of(), false);
        Map<String, Double> rates = TunedModel.of(tuning, LLAMA, HADOOP).plan().rates();

        assertThat(rates)
                .containsEntry("base_model.model.model.layers.0.self_attn.q_proj.lora_B.weight", 16.0)
                .containsEntry("base_model.model.model.norm.weight", 16.0)
                .hasSize(3);
        assertThat(TunedModel.of(tuning, LLAMA, HADOOP).plan().groups())
                .extracting(group -> group.rate() + " " + group.decayed())
                .containsExactly("1.0 true", "16.0 true", "16.0 false");
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = ';',
            value = {
                "2; all; ; 18",
                "1; all; ; 9",
                "-1; mlp,self_attn; ; 7",
                "9; all; ; 18",
                "1; mlp; lm_head; 4",
                "1; mlp; norm; 8", // LLaMA-Factory looks for the word anywhere: all layers' norms too
                "0; all; embed_tokens; 1"
            })
    void freezeTrainsWhatLlamaFactoryTrains(int layers, String modules, String extra, int count) {
        List<String> extras = extra == null ? List.of() : List.of(extra);
        TuningConfig.Freeze freeze =
                new TuningConfig.Freeze(Stage.SFT, layers, Arrays.asList(modules.split(",", -1)), extras);

        TunedModel tuned = TunedModel.of(freeze, LLAMA, HADOOP);

        assertThat(names(tuned)).hasSize(count);
        assertThat(tuned.plan().all()).hasSameSizeAs(LLAMA.parameters());
        if (layers == -1) {
            assertThat(names(tuned)).allMatch(name -> name.startsWith("model.layers.0."));
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "lora | q_proj,W_pack | lora_target W_pack names no linear module of LlamaForCausalLM; use all, or some of"
                        + " down_proj, gate_proj, k_proj, o_proj, q_proj, up_proj, v_proj",
                "lora | lm_head | lora_target lm_head is the head, which LoRA does not adapt here; write additional_target:"
                        + " lm_head to train it whole",
                "additional | wte | additional_target wte names no module of LlamaForCausalLM; use some of down_proj,"
                        + " embed_tokens, gate_proj, input_layernorm, k_proj, lm_head, norm, o_proj,"
                        + " post_attention_layernorm, q_proj, up_proj, v_proj",
                "modules | attn | freeze_trainable_modules attn is no such module of the model; use some of"
                        + " input_layernorm, mlp, post_attention_layernorm, self_attn",
                "extra | wte | freeze_extra_modules wte is no such module of the model; use some of embed_tokens,"
                        + " lm_head, norm",
                "layers | 0 | freeze_trainable_layers 0 and freeze_extra_modules leave nothing to train; train at least"
                        + " one layer"
            })
    void refusesWhatTheModelHasNot(String kind, String value, String message) {
        List<String> words = Arrays.asList(value.split(",", -1));
        TuningConfig tuning = switch (kind) {
            case "lora" -> lora(words, List.of());
            case "additional" -> lora(List.of("all"), words);
            case "modules" -> new TuningConfig.Freeze(Stage.SFT, 2, words, List.of());
            case "extra" -> new TuningConfig.Freeze(Stage.SFT, 2, List.of("all"), words);
            default -> new TuningConfig.Freeze(Stage.SFT, 0, List.of("all"), List.of());
        };

        assertThatThrownBy(() -> TunedModel.of(tuning, LLAMA, HADOOP)).hasMessage(message);
    }

    @Test
    void theLastAdapterIsTrainedOnAndThoseBeforeItAreMerged() {
        List<String> adapters = List.of(
                ADAPTERS.resolve("adapter").toString(),
                ADAPTERS.resolve("final_adapter").toString());

        TunedModel on = TunedModel.of(lora(adapters, false), LLAMA, HADOOP);
        TunedModel fresh = TunedModel.of(lora(adapters, true), LLAMA, HADOOP);

        assertThat(on.start().orElseThrow().folder().path()).endsWith("final_adapter");
        assertThat(on.merged()).hasSize(1);
        assertThat(on.adapter().orElseThrow().rank()).isEqualTo(4); // its own, not lora_rank
        assertThat(fresh.start()).isEmpty();
        assertThat(fresh.merged()).hasSize(2);
        assertThat(fresh.adapter().orElseThrow().rank()).isEqualTo(3);
    }

    @Test
    void mergesOneAdapterAfterTheOther() {
        List<String> adapters = List.of(
                ADAPTERS.resolve("adapter").toString(),
                ADAPTERS.resolve("final_adapter").toString());
        String weight = "model.layers.1.mlp.down_proj.weight";

        TunedModel tuned = TunedModel.of(lora(adapters, true), LLAMA, HADOOP);
        float[] plain;
        float[][] merged = new float[2][];
        try (WeightIndex files = model("tiny-llama").weights()) {
            plain = floats(files, weight, 3, 64 * 176 - 3);
            tuned.read(files, LLAMA, DataType.F32, all -> merged[0] = floats(all, weight, 3, plain.length));
            tuned.read(files, LLAMA, DataType.BF16, all -> merged[1] = floats(all, weight, 3, plain.length));
        }

        float[] expected = plain.clone();
        float[] rounded = new float[plain.length];
        for (int i = 0; i < plain.length; i++) {
            rounded[i] = FloatFormat.rounded(DataType.BF16, plain[i]);
        }
        for (AdapterDirectory adapter : tuned.merged()) {
            try (WeightFile file = adapter.weights(LLAMA)) {
                float[] a = floats(file, LoraSpec.lowRankA("model.layers.1.mlp.down_proj"), 0, 4 * 176);
                float[] b = floats(file, LoraSpec.lowRankB("model.layers.1.mlp.down_proj"), 0, 64 * 4);
                for (int i = 0; i < plain.length; i++) {
                    int row = (i + 3) / 176;
                    int column = (i + 3) % 176;
                    double sum = 0;
                    for (int r = 0; r < 4; r++) {
                        sum += (double) b[row * 4 + r] * a[r * 176 + column];
                    }
                    expected[i] += (float) (2 * sum);
                    rounded[i] = FloatFormat.rounded(DataType.BF16, rounded[i] + (float) (2 * sum));
                }
            }
        }
        int away = 0;
        for (int i = 0; i < plain.length; i++) {
            assertThat(merged[0][i]).isCloseTo(expected[i], within(1e-7f));
            away += merged[1][i] == rounded[i] ? 0 : 1;
        }
        assertThat(away).as("elements that round the other way").isLessThan(plain.length / 1000);
    }

    @Test
    void anAdaptersCopyOfATiedHeadUntiesIt() {
        LoraSpec lora = new LoraSpec(2, 4, 0, false, List.of("q_proj"), List.of("lm_head"));

        ModelSpec shape = MergedWeights.shape(TIED, lora);

        assertThat(TIED.tiedHead()).isTrue();
        assertThat(shape.tiedHead()).isFalse();
        assertThat(ModelSpec.parse(model("tiny-qwen2").configFor(shape, DataType.F32), "config.json")
                        .tiedHead())
                .isFalse();
        assertThat(MergedWeights.shape(LLAMA, lora)).isEqualTo(LLAMA);
    }

    @Test
    void writesWhatPeftWrites() throws IOException {
        AdapterDirectory peft =
                AdapterDirectory.open(ADAPTERS.resolve("adapter").toString(), HADOOP);
        Folder target = Folder.at(folder.toString(), HADOOP);

        try (WeightFile file = peft.weights(LLAMA)) {
            AdapterDirectory.write(
                    target,
                    peft.spec(),
                    peft.origin(),
                    file.tensors().keySet().stream().map(file::data).toList());
        }

        ObjectMapper json = new ObjectMapper();
        JsonNode ours = json.readTree(target.readText(AdapterDirectory.CONFIG));
        JsonNode theirs =
                json.readTree(ADAPTERS.resolve("adapter/adapter_config.json").toFile());
        Map<String, JsonNode> expected = theirs.properties().stream()
                .filter(field -> ours.has(field.getKey()))
                .collect(Collectors.toMap(Map.Entry::getKey, Map.Entry::getValue));
        assertThat(ours.properties())
                .isNotEmpty()
                .allSatisfy(field ->
                        assertThat(field.getValue()).as(field.getKey()).isEqualTo(expected.get(field.getKey())));
        try (SafetensorsFile written = SafetensorsFile.open(target, AdapterDirectory.WEIGHTS);
                WeightFile read = peft.weights(LLAMA)) {
            assertThat(written.tensors().toString().length())
                    .isEqualTo(read.tensors().toString().length());
            assertThat(written.names())
                    .containsExactlyInAnyOrderElementsOf(read.tensors().keySet());
        }
        assertThat(AdapterDirectory.open(target).spec()).isEqualTo(peft.spec());
        assertThat(target.has(AdapterDirectory.MERGED)).isFalse();
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "use_dora | true | has use_dora true, which is not supported; use a plain LoRA adapter, or merge this one"
                        + " into its model with PEFT",
                "rank_pattern | {\"q_proj\": 2} | has rank_pattern {\"q_proj\":2}, which is not supported; use a plain"
                        + " LoRA adapter, or merge this one into its model with PEFT",
                "use_bdlora | {\"nblocks\": 2} | has use_bdlora {\"nblocks\":2}, which is not supported; use a plain"
                        + " LoRA adapter, or merge this one into its model with PEFT",
                "kasa_config | {\"beta\": 1} | has kasa_config {\"beta\":1}, which is not supported; use a plain"
                        + " LoRA adapter, or merge this one into its model with PEFT",
                "monteclora_config | {\"n\": 4} | has monteclora_config {\"n\":4}, which is not supported; use a plain"
                        + " LoRA adapter, or merge this one into its model with PEFT",
                "peft_type | \"IA3\" | has peft_type IA3; only LORA is trained and merged",
                "target_modules | \"all-linear\" | has target_modules \"all-linear\", which is no list; write the names of"
                        + " the modules, such as [\"q_proj\", \"v_proj\"]",
                "r | 0 | has r 0, which is not at least 1; copy it again"
            })
    void refusesAdaptersThatComputeOtherwise(String field, String value, String message) throws IOException {
        ObjectMapper json = new ObjectMapper();
        ObjectNode config = (ObjectNode)
                json.readTree(ADAPTERS.resolve("adapter/adapter_config.json").toFile());
        config.set(field, json.readTree(value));
        Files.writeString(folder.resolve("adapter_config.json"), config.toString());
        Files.write(folder.resolve("adapter_model.safetensors"), new byte[0]);

        assertThatThrownBy(() -> AdapterDirectory.open(folder.toString(), HADOOP))
                .hasMessage(folder.resolve("adapter_config.json") + " " + message);
    }

    @Test
    void refusesAnAdapterOfAnotherModelAndFoldersThatAreNone() throws IOException {
        AdapterDirectory adapter =
                AdapterDirectory.open(ADAPTERS.resolve("adapter").toString(), HADOOP);

        assertThatThrownBy(() -> adapter.weights(TIED))
                .hasMessageContaining("is no adapter of this model: ")
                .hasMessageEndingWith("use the model it was trained beside, tiny-llama");
        assertThatThrownBy(() -> AdapterDirectory.open(folder.resolve("none").toString(), HADOOP))
                .hasMessageEndingWith("none; check the path");
        assertThatThrownBy(() -> AdapterDirectory.open(folder.toString(), HADOOP))
                .hasMessageContaining(
                        "holds no adapter_config.json; point adapter_name_or_path at the folder of a PEFT");
        Files.writeString(folder.resolve("adapter_config.json"), "{}", StandardCharsets.UTF_8);
        assertThatThrownBy(() -> AdapterDirectory.open(folder.toString(), HADOOP))
                .hasMessageContaining("holds no adapter_model.safetensors and no adapter_model.bin; copy it there");
    }

    private static TuningConfig.Lora lora(List<String> target, List<String> additional) {
        return new TuningConfig.Lora(Stage.SFT, 4, 8, 0, target, additional, false, 1, List.of(), false);
    }

    private static TuningConfig.Lora lora(List<String> adapters, boolean createNew) {
        return new TuningConfig.Lora(Stage.SFT, 3, 6, 0, List.of("all"), List.of(), false, 1, adapters, createNew);
    }

    private static List<String> names(TunedModel tuned) {
        return tuned.plan().trained().stream().map(ParameterSpec::name).toList();
    }

    private static ModelDirectory model(String name) {
        return ModelDirectory.open(REFERENCE.resolve("models").resolve(name).toString(), new Configuration(false));
    }

    private static float[] floats(FloatWeights weights, String name, long first, int count) {
        ByteBuffer bytes = ByteBuffer.allocate(count * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        weights.readFloat32(name, first, bytes);
        float[] values = new float[count];
        bytes.flip().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
        return values;
    }
}
