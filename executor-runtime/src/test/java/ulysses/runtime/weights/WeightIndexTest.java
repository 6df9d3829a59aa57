package ulysses.runtime.weights;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.function.UnaryOperator;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** On a model that transformers wrote: tiny-llama in bfloat16, four shards. */
final class WeightIndexTest {
    private static final Configuration HADOOP = new Configuration(false);

    @TempDir
    private Path model;

    private Folder folder;

    @BeforeEach
    void copyModel() throws IOException, URISyntaxException {
        var resource = Objects.requireNonNull(getClass().getResource("/weights/tiny-llama-sharded-bf16"));
        try (Stream<Path> files = Files.list(Path.of(resource.toURI()))) {
            for (Path file : files.toList()) {
                Files.copy(file, model.resolve(Objects.requireNonNull(file.getFileName())));
            }
        }
        folder = Folder.at(model.toUri().toString(), HADOOP);
    }

    private void edit(String file, UnaryOperator<String> change) {
        folder.write(file, change.apply(folder.readText(file)).getBytes(StandardCharsets.UTF_8));
    }

    private void writeSingle(List<ParameterSpec> parameters) {
        List<TensorData> tensors = new ArrayList<>();
        for (ParameterSpec parameter : parameters) {
            ByteBuffer zeros = ByteBuffer.allocate((int) parameter.elements() * 2);
            tensors.add(TensorData.of(parameter.name(), DataType.F16, parameter.shape(), zeros));
        }
        SafetensorsFile.write(folder, WeightIndex.SINGLE_FILE, tensors);
    }

    private List<ParameterSpec> parameters() {
        return ModelDirectory.open(folder).spec().parameters();
    }

    @Test
    void readsTensorsOfAllShards() {
        ByteBuffer head = ByteBuffer.allocate(12).order(ByteOrder.LITTLE_ENDIAN);
        ByteBuffer norm = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);

        try (WeightIndex weights = ModelDirectory.open(folder).weights()) {
            weights.readFloat32("lm_head.weight", 0, head);
            weights.readFloat32("model.norm.weight", 62, norm);

            assertThat(weights.names()).hasSize(21);
            assertThat(weights.info("lm_head.weight").type()).isEqualTo(DataType.BF16);
        }

        assertThat(List.of(head.getFloat(0), head.getFloat(4), head.getFloat(8)))
                .containsExactly(0.014099121f, 0.020629883f, -0.057373047f);
        assertThat(List.of(norm.getFloat(0), norm.getFloat(4))).containsExactly(1.0625f, 1.0390625f);
    }

    @Test
    void theSingleFileWinsAsInTransformers() {
        writeSingle(parameters());

        try (WeightIndex weights = ModelDirectory.open(folder).weights()) {
            assertThat(weights.info("lm_head.weight").type()).isEqualTo(DataType.F16);
        }
    }

    @Test
    void namesMissingMisshapedAndUnexpectedTensors() {
        List<ParameterSpec> parameters = new ArrayList<>(parameters());
        parameters.remove(3);
        parameters.set(0, new ParameterSpec(ModelSpec.EMBEDDING, new long[] {500, 64}, true));
        parameters.add(new ParameterSpec("model.layers.0.self_attn.q_proj.bias", new long[] {64}, false));
        parameters.add(new ParameterSpec("model.layers.0.self_attn.rotary_emb.inv_freq", new long[] {4}, false));
        writeSingle(parameters);

        assertThatThrownBy(() -> ModelDirectory.open(folder).weights())
                .isInstanceOf(WeightsException.class)
                .hasMessageEndingWith("the weights are not those of its config.json;"
                        + " missing: model.layers.0.self_attn.v_proj.weight;"
                        + " wrong shape or type: model.embed_tokens.weight F16[500, 64] instead of [512, 64];"
                        + " unexpected: model.layers.0.self_attn.q_proj.bias; take both from the same model");
    }

    @Test
    void oneUnexpectedTensorIsEnoughToRefuse() {
        List<ParameterSpec> parameters = new ArrayList<>(parameters());
        parameters.add(new ParameterSpec("model.layers.2.input_layernorm.weight", new long[] {64}, false));
        writeSingle(parameters);

        assertThatThrownBy(() -> ModelDirectory.open(folder).weights())
                .hasMessageContaining("config.json; unexpected: model.layers.2.input_layernorm.weight; take both");
    }

    @Test
    void oneMisshapedTensorIsEnoughToRefuse() {
        List<ParameterSpec> parameters = new ArrayList<>(parameters());
        parameters.set(0, new ParameterSpec(ModelSpec.EMBEDDING, new long[] {64, 512}, true));
        writeSingle(parameters);

        assertThatThrownBy(() -> ModelDirectory.open(folder).weights())
                .hasMessageContaining("config.json; wrong shape or type: model.embed_tokens.weight F16[64, 512]");
    }

    @Test
    void aTiedHeadNeedsNoTensorAndMayHaveACopy() {
        edit("config.json", text -> text.replace("\"tie_word_embeddings\": false", "\"tie_word_embeddings\": true"));
        List<ParameterSpec> tied = parameters();

        writeSingle(tied);
        ModelDirectory.open(folder).weights().close();
        List<ParameterSpec> copied = new ArrayList<>(tied);
        copied.add(new ParameterSpec(ModelSpec.HEAD, new long[] {512, 64}, true));
        writeSingle(copied);
        ModelDirectory.open(folder).weights().close();
        copied.remove(0);
        writeSingle(copied);

        try (WeightIndex weights = ModelDirectory.open(folder).weights()) {
            assertThat(weights.info(ModelSpec.EMBEDDING).name()).isEqualTo(ModelSpec.HEAD);
        }
    }

    @Test
    void anUntiedModelNeedsItsEmbedding() {
        List<ParameterSpec> parameters = new ArrayList<>(parameters());
        parameters.remove(0);
        writeSingle(parameters);

        assertThatThrownBy(() -> ModelDirectory.open(folder).weights())
                .hasMessageContaining("missing: model.embed_tokens.weight;");
    }

    @Test
    void namesTheShardThatIsMissing() {
        folder.delete("model-00003-of-00004.safetensors");

        assertThatThrownBy(() -> WeightIndex.open(folder))
                .hasMessageContaining("names the file model-00003-of-00004.safetensors, which is not there");
    }

    @Test
    void namesTheTensorThatIsNotInItsShard() {
        edit(WeightIndex.INDEX_FILE, text -> text.replaceFirst("model-00002", "model-00001"));

        assertThatThrownBy(() -> WeightIndex.open(folder))
                .hasMessageContaining(
                        "says that model.embed_tokens.weight lies in model-00001-of-00004.safetensors, but it is not there");
    }

    @Test
    void refusesAnIndexThatLeavesTheFolderOrIsNoIndex() {
        edit(WeightIndex.INDEX_FILE, text -> text.replaceFirst("model-00001", "../model-00001"));
        assertThatThrownBy(() -> WeightIndex.open(folder))
                .hasMessageContaining("only files inside the folder are read");

        edit(WeightIndex.INDEX_FILE, text -> text.substring(0, 100));
        assertThatThrownBy(() -> WeightIndex.open(folder)).hasMessageContaining("is not valid JSON");

        edit(WeightIndex.INDEX_FILE, text -> "{}");
        assertThatThrownBy(() -> WeightIndex.open(folder)).hasMessageContaining("has no weight_map");
    }

    @Test
    void saysWhatToDoAboutAbsentWeights() {
        folder.delete(WeightIndex.INDEX_FILE);
        assertThatThrownBy(() -> WeightIndex.open(folder))
                .hasMessageContaining(
                        "holds no weights (model.safetensors or model.safetensors.index.json, nor pytorch_model.bin)")
                .hasMessageContaining("train_from_scratch: true");
    }

    @Test
    void aFolderThatIsNotThereIsNamed() {
        assertThatThrownBy(() -> ModelDirectory.open("/no/such/folder", HADOOP))
                .hasMessage("model_name_or_path /no/such/folder: there is no folder /no/such/folder; check the path");
        assertThatThrownBy(() -> ModelDirectory.open(model.resolve("empty").toString(), HADOOP))
                .hasMessageContaining("there is no folder");
    }

    @Test
    void copiesCompanionsAndFindsLocalFiles(@TempDir Path target) {
        folder.write("tokenizer.json", new byte[] {1});
        ModelDirectory directory = ModelDirectory.open(folder);

        directory.copyCompanionsTo(Folder.at(target.toString(), HADOOP));

        assertThat(target)
                .isDirectoryContaining("glob:**/tokenizer.json")
                .isDirectoryContaining("glob:**/generation_config.json");
        assertThat(directory.localCopyOf("tokenizer.json", target)).isEqualTo(model.resolve("tokenizer.json"));
        assertThatThrownBy(() -> directory.localCopyOf("merges.txt", target))
                .hasMessageContaining("holds no merges.txt");
    }
}
