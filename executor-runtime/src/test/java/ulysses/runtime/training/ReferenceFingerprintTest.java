package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TuningConfig;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.TunedModel;

final class ReferenceFingerprintTest {
    private static final Path REFERENCE =
            Path.of("src", "test", "resources", "reference").toAbsolutePath();
    private static final Path ADAPTERS = REFERENCE.resolve("cases/tiny-llama/lora");
    private static final Configuration HADOOP = new Configuration(false);

    @TempDir
    private Path folder;

    private ModelDirectory llama;
    private TrainingConfig config;

    @BeforeEach
    void open() throws IOException {
        llama = model("tiny-llama");
        config = config("");
    }

    @Test
    void mergedAdaptersAreOfTheReference() {
        List<String> fingerprints = Stream.of(
                        List.<String>of(),
                        List.of("adapter"),
                        List.of("final_adapter"),
                        List.of("adapter", "final_adapter"))
                .map(names -> ReferenceFingerprint.of(config, llama, beside(names)))
                .toList();

        assertThat(fingerprints).doesNotHaveDuplicates();
        assertThat(ReferenceFingerprint.of(config, llama, beside(List.of("adapter"))))
                .isEqualTo(fingerprints.get(1));
    }

    @Test
    void theAdapterThatIsTrainedIsNot() {
        assertThat(ReferenceFingerprint.of(config, llama, beside(List.of())))
                .isEqualTo(ReferenceFingerprint.of(config, llama, TunedModel.full(llama.spec())));
    }

    @Test
    void weightsAndSettingsAreOfIt() throws IOException {
        ModelDirectory other = model("tiny-llama-ref");

        assertThat(Stream.of(
                        ReferenceFingerprint.of(config, llama, TunedModel.full(llama.spec())),
                        ReferenceFingerprint.of(config, other, TunedModel.full(other.spec())),
                        ReferenceFingerprint.of(config("cutoff_len: 64"), llama, TunedModel.full(llama.spec())),
                        ReferenceFingerprint.ofDrawn(config, llama.spec()),
                        ReferenceFingerprint.ofDrawn(config("seed: 7"), llama.spec())))
                .doesNotHaveDuplicates();
    }

    /** A new adapter beside the model with those of {@code names} merged into it. */
    private TunedModel beside(List<String> names) {
        List<String> adapters =
                names.stream().map(name -> ADAPTERS.resolve(name).toString()).toList();
        TuningConfig.Lora lora = new TuningConfig.Lora(
                TuningConfig.Stage.DPO, 3, 6, 0, List.of("all"), List.of(), false, 1, adapters, true);
        return TunedModel.of(lora, llama.spec(), HADOOP);
    }

    private static ModelDirectory model(String name) {
        return ModelDirectory.open(
                Folder.at(REFERENCE.resolve("models").resolve(name).toString(), HADOOP));
    }

    private TrainingConfig config(String more) throws IOException {
        Path yaml = Files.writeString(
                folder.resolve("train.yaml"),
                "model_name_or_path: unused\noutput_dir: out\ndataset: unused\ntemplate: default\n" + more);
        return ConfigFile.load(ConfigFile.Sources.ofFile(yaml.toString()), HADOOP)
                .config();
    }
}
