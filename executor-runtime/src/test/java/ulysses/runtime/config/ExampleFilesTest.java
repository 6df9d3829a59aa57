package ulysses.runtime.config;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
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

    private static Loaded load(Path yaml) throws IOException {
        Sources sources = Sources.ofFile(yaml.toString());
        String deepSpeed = Files.readAllLines(yaml).stream()
                .filter(line -> line.startsWith("deepspeed: "))
                .map(line -> line.split(" ", -1)[1])
                .findFirst()
                .orElseThrow();
        return ConfigFile.load(
                sources.with("deepspeed", Path.of("..", deepSpeed).toString()), new Configuration(false));
    }

    static List<Path> yamls() throws IOException {
        return files(".yaml");
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
