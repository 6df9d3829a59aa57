package ulysses.runtime.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import ulysses.runtime.config.ConfigFile.Loaded;
import ulysses.runtime.config.ConfigFile.Sources;

/** Everything under conf/examples loads; paths there start at the repository's root, one folder above the tests. */
class ExampleFilesTest {
    private static final Path EXAMPLES = Path.of("..", "conf", "examples");

    @ParameterizedTest
    @MethodSource("yamls")
    void everyExampleLoads(Path yaml) throws IOException {
        Loaded loaded = load(yaml);

        assertThat(loaded.config().output().outputDir()).contains("/saves/");
        assertThat(loaded.config().model().computeType()).isEqualTo(TrainingConfig.ComputeType.BFLOAT16);
    }

    @ParameterizedTest
    @MethodSource("deepSpeedFiles")
    void everyDeepSpeedFileLoads(Path json) {
        Sources sources = Sources.ofFile(
                        EXAMPLES.resolve("train_full/llama3_full_sft.yaml").toString())
                .with("deepspeed", json.toString());

        Loaded loaded = ConfigFile.load(sources, new Configuration(false));

        int expected =
                json.toString().contains("improved") ? 8 : json.toString().contains("ulysses") ? 4 : 1;
        assertThat(loaded.config().parallel().sequenceParallelSize()).isEqualTo(expected);
    }

    @Test
    void ulyssesExampleTakesItsGroupSizeFromDeepSpeed() throws IOException {
        TrainingConfig config = load(EXAMPLES.resolve("train_full/llama3_full_sft_ulysses.yaml"))
                .config();

        assertThat(config.parallel().sequenceParallelSize()).isEqualTo(8);
        assertThat(config.data().packing()).isEqualTo(TrainingConfig.Packing.BEST_FIT);
    }

    @Test
    void mergeExampleIsAnExport() {
        Sources merge = Sources.ofFile(
                EXAMPLES.resolve("merge_lora/llama3_lora_sft.yaml").toString());

        ExportConfig export =
                ConfigFile.loadExport(merge, new Configuration(false)).orElseThrow();

        assertThat(export.adapters()).containsExactly("saves/llama3-8b/lora/sft");
        assertThat(export.exportDir()).endsWith("/saves/llama3-8b/lora/sft-merged");
        assertThat(export.maxShardBytes()).isEqualTo(5_000_000_000L);
        assertThatThrownBy(() -> ConfigFile.load(merge, new Configuration(false)))
                .hasMessageContaining("this file describes an export; use the export command");
    }

    private static Loaded load(Path yaml) throws IOException {
        Sources sources = Sources.ofFile(yaml.toString());
        Optional<String> deepSpeed = Files.readAllLines(yaml).stream()
                .filter(line -> line.startsWith("deepspeed: "))
                .map(line -> line.split(" ", -1)[1])
                .findFirst();
        return ConfigFile.load(
                deepSpeed
                        .map(file ->
                                sources.with("deepspeed", Path.of("..", file).toString()))
                        .orElse(sources),
                new Configuration(false));
    }

    static List<Path> yamls() throws IOException {
        return files(".yaml").stream()
                .filter(file -> !file.toString().contains("merge_lora"))
                .toList();
    }

    static List<Path> deepSpeedFiles() throws IOException {
        return files(".json");
    }

    private static List<Path> files(String ending) throws IOException {
        try (Stream<Path> all = Files.walk(EXAMPLES)) {
            return all.filter(path -> path.toString().endsWith(ending)).sorted().toList();
        }
    }
}
