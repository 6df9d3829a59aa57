package ulysses.runtime.config;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.Objects;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.config.ConfigFile.Loaded;
import ulysses.runtime.config.TrainingConfig.Packing;
import ulysses.runtime.config.TrainingConfig.SaveStrategy;

/** YAMLs that LLaMA-Factory itself ran, unchanged. */
class RecordedRunsTest {
    @TempDir
    Path folder;

    @ParameterizedTest
    @CsvSource({
        "sft-full, SFT, NONE, 512",
        "sft-full-qwen2, SFT, NONE, 512",
        "sft-neat-packing, SFT, LLAMAFACTORY_NEAT, 1024",
        "pt-full, PT, LLAMAFACTORY_BLOCKS, 512"
    })
    void fullRunsLoadWithoutANote(String run, TuningConfig.Stage stage, Packing packing, int length)
            throws IOException {
        Loaded loaded = load(run);

        TrainingConfig config = loaded.config();
        assertThat(loaded.notes()).isEmpty();
        assertThat(config.tuning().stage()).isEqualTo(stage);
        assertThat(config.data().packing()).isEqualTo(packing);
        assertThat(config.data().cutoffLength()).isEqualTo(length);
        assertThat(config.output().saveStrategy()).isEqualTo(SaveStrategy.NO);
        assertThat(config.step().shuffle()).isFalse();
        assertThat(config.step().learningRate()).isEqualTo(1e-3);
        assertThat(config.parallel().device()).isEqualTo(ParallelConfig.Device.CPU);
    }

    @Test
    void qwen2RunKeepsItsOptimizer() throws IOException {
        StepConfig step = load("sft-full-qwen2").config().step();

        assertThat(step.weightDecay()).isEqualTo(0.1);
        assertThat(step.maxGradNorm()).isEqualTo(0.5);
        assertThat(step.schedule()).isEqualTo("linear");
        assertThat(step.warmupRatio()).isEqualTo(0.2);
    }

    @Test
    void loraRunKeepsItsAdapter() throws IOException {
        Loaded loaded = load("sft-lora");

        assertThat(loaded.notes()).isEmpty();
        assertThat(loaded.config().tuning())
                .isEqualTo(new TuningConfig.Lora(
                        TuningConfig.Stage.SFT,
                        8,
                        16,
                        0,
                        List.of("all"),
                        List.of(),
                        false,
                        1,
                        List.of("../adapters/llama-64-r8"),
                        false));
    }

    @Test
    void preferenceRunKeepsItsLoss() throws IOException {
        Loaded loaded = load("dpo-lora-sigmoid");

        assertThat(loaded.notes()).isEmpty();
        assertThat(loaded.config().tuning().stage()).isEqualTo(TuningConfig.Stage.DPO);
        assertThat(loaded.config().data().packing()).isEqualTo(Packing.NONE);
        assertThat(loaded.config().preference())
                .isEqualTo(new PreferenceConfig(PreferenceConfig.Loss.SIGMOID, 0.1, 0, 0, 0.5, null, null, false));
    }

    private Loaded load(String run) throws IOException {
        try (InputStream yaml =
                Objects.requireNonNull(RecordedRunsTest.class.getResourceAsStream("recorded/" + run + ".yaml"))) {
            String file = ConfigFileTest.write(folder, new String(yaml.readAllBytes(), StandardCharsets.UTF_8));
            return ConfigFile.load(ConfigFile.Sources.ofFile(file), new Configuration(false));
        }
    }
}
