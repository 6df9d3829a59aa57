package ulysses.runtime.export;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URISyntaxException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointStore;
import ulysses.runtime.checkpoint.CheckpointWriter;
import ulysses.runtime.checkpoint.TrainState;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.RopeScaling;
import ulysses.runtime.weights.TensorData;
import ulysses.runtime.weights.WeightIndex;
import ulysses.runtime.weights.WeightsException;

final class HuggingFaceExportTest {
    private static final long ONE_FILE = 1L << 40;

    @TempDir
    private Path temporary;

    private ModelDirectory source;
    private Folder target;

    @BeforeEach
    void open() throws URISyntaxException {
        var resource = Objects.requireNonNull(getClass().getResource("/weights/tiny-llama-sharded-bf16"));
        source = ModelDirectory.open(Path.of(resource.toURI()).toString(), new Configuration(false));
        target = Folder.at(temporary.toString(), new Configuration(false)).folder("export");
    }

    private static List<TensorData> all(ModelSpec spec, WeightIndex weights) {
        return spec.parameters().stream()
                .map(parameter -> weights.data(parameter.name()))
                .toList();
    }

    private void export(long maxShardBytes) {
        try (WeightIndex weights = source.weights()) {
            HuggingFaceExport.write(source, source.spec(), all(source.spec(), weights), target, maxShardBytes);
        }
    }

    private void assertThatWeightsEqualTheSource() {
        try (WeightIndex expected = source.weights();
                WeightIndex actual = ModelDirectory.open(target).weights()) {
            assertThat(actual.names()).isEqualTo(expected.names());
            for (String name : expected.names()) {
                ByteBuffer one = ByteBuffer.allocate((int) expected.info(name).byteLength());
                ByteBuffer other = ByteBuffer.allocate((int) actual.info(name).byteLength());
                expected.read(name, 0, one);
                actual.read(name, 0, other);
                assertThat(other.array()).as(name).isEqualTo(one.array());
            }
        }
    }

    private List<String> files() {
        return target.list().stream().map(Folder.Entry::name).toList();
    }

    @Test
    void writesOneFileWhenItFits() {
        export(ONE_FILE);

        assertThat(files()).containsExactly("config.json", "generation_config.json", "model.safetensors");
        assertThatWeightsEqualTheSource();
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 70_000, 150_000})
    void splitsWeightsIntoFilesOfTheGivenSize(long maxShardBytes) throws IOException {
        export(maxShardBytes);

        assertThatWeightsEqualTheSource();
        JsonNode index = new ObjectMapper().readTree(target.readText(WeightIndex.INDEX_FILE));
        assertThat(index.path("metadata").path("total_size").asLong()).isEqualTo(307_840);
        assertThat(files().stream().filter(name -> name.startsWith("model-")))
                .hasSizeGreaterThan(1)
                .allSatisfy(name -> {
                    assertThat(name).matches("model-\\d{5}-of-\\d{5}\\.safetensors");
                    assertThat(target.length(name).orElseThrow())
                            .isLessThan(Math.max(maxShardBytes, 512 * 64 * 2) + 4000);
                });
    }

    @Test
    void anEarlierExportIsReplacedWhateverItsShards() {
        export(70_000);
        export(ONE_FILE);
        assertThat(files()).containsExactly("config.json", "generation_config.json", "model.safetensors");

        export(150_000);

        assertThat(files()).doesNotContain("model.safetensors").contains(WeightIndex.INDEX_FILE);
        assertThatWeightsEqualTheSource();
    }

    @Test
    void configKeepsItsFieldsAndNamesTheTypeOfTheWeights() throws IOException {
        List<TensorData> floats = new ArrayList<>();
        for (ParameterSpec parameter : source.spec().parameters()) {
            ByteBuffer zeros = ByteBuffer.allocate((int) parameter.elements() * 4);
            floats.add(TensorData.of(parameter.name(), DataType.F32, parameter.shape(), zeros));
        }

        HuggingFaceExport.write(source, source.spec(), floats, target, ONE_FILE);

        JsonNode config = new ObjectMapper().readTree(target.readText("config.json"));
        JsonNode original = new ObjectMapper().readTree(source.configJson());
        assertThat(config.path("dtype").asText()).isEqualTo("float32");
        original.properties().forEach(field -> {
            if (!field.getKey().equals("dtype")) {
                assertThat(config.get(field.getKey())).as(field.getKey()).isEqualTo(field.getValue());
            }
        });
    }

    @Test
    void configSaysHowRotaryFrequenciesWereScaled() {
        ModelSpec scaled = source.spec().withRopeScaling("yarn", 5000);

        try (WeightIndex weights = source.weights()) {
            HuggingFaceExport.write(source, scaled, all(scaled, weights), target, ONE_FILE);
        }

        ModelSpec read = ModelDirectory.open(target).spec();
        assertThat(read).isEqualTo(scaled);
        assertThat(read.ropeScaling()).isInstanceOf(RopeScaling.Yarn.class);
        assertThat(read.maxPositions()).isEqualTo(6144);
    }

    @Test
    void exportsACompleteCheckpoint() {
        Folder checkpoints =
                Folder.at(temporary.toString(), new Configuration(false)).folder("run");
        CheckpointWriter writer = new CheckpointWriter(new CheckpointStore(checkpoints), 1, "r", new RankMesh(1, 1));
        TrainState state = new TrainState(3, 1, 3, 3, 3, 1, 1, 1, "", "", 0);
        try (WeightIndex weights = source.weights()) {
            var files = writer.writeRank(3, 0, all(source.spec(), weights), List.of());
            Checkpoint checkpoint = writer.commit(files, state, "{}", source, source.spec());

            HuggingFaceExport.fromCheckpoint(checkpoint, target, 150_000);
        }

        assertThatWeightsEqualTheSource();
    }

    @Test
    void refusesToOverwriteTheModelItStartedFrom() {
        try (WeightIndex weights = source.weights()) {
            List<TensorData> tensors = all(source.spec(), weights);

            assertThatThrownBy(() -> HuggingFaceExport.write(source, source.spec(), tensors, source.folder(), ONE_FILE))
                    .isInstanceOf(WeightsException.class)
                    .hasMessageContaining("is the folder of the model that training starts from; choose another one");
        }
    }

    @Test
    void refusesAnIncompleteModelBeforeItTouchesTheFolder() {
        export(ONE_FILE);
        try (WeightIndex weights = source.weights()) {
            List<TensorData> tensors = all(source.spec(), weights);

            assertThatThrownBy(() -> HuggingFaceExport.write(
                            source, source.spec(), tensors.subList(1, tensors.size()), target, ONE_FILE))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("no tensor of the shape of model.embed_tokens.weight[512, 64]");
        }
        assertThatWeightsEqualTheSource();
    }
}
