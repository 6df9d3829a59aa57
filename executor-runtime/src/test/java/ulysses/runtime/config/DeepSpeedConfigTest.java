package ulysses.runtime.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.config.ConfigFile.Loaded;
import ulysses.runtime.config.ConfigFile.Sources;

class DeepSpeedConfigTest {
    @TempDir
    Path folder;

    @Test
    void numbersOfTheJsonAreTaken() throws IOException {
        Loaded loaded = load("""
                {
                  // the original's own keys
                  "sequence_parallel_size": 4, "flash_attention": true,
                  "train_micro_batch_size_per_gpu": 2, "gradient_accumulation_steps": 3,
                  "gradient_clipping": 0.5, "bf16": {"enabled": true}, # another comment
                  "fp16": {"enabled": false, "loss_scale": 0},
                  "zero_optimization": {"stage": 0},
                }
                """, "");

        TrainingConfig config = loaded.config();
        assertThat(config.parallel().sequenceParallelSize()).isEqualTo(4);
        assertThat(config.step().rowsPerRank()).isEqualTo(2);
        assertThat(config.step().accumulation()).isEqualTo(3);
        assertThat(config.step().maxGradNorm()).isEqualTo(0.5);
        assertThat(config.model().computeType()).isEqualTo(TrainingConfig.ComputeType.BFLOAT16);
        assertThat(loaded.notes()).isEmpty();
    }

    @Test
    void autoLeavesValuesToTheYaml() throws IOException {
        Loaded loaded = load("""
                {"train_batch_size": "auto", "train_micro_batch_size_per_gpu": "auto", "gradient_clipping": "auto",
                 "gradient_accumulation_steps": "auto", "bf16": {"enabled": "auto"}, "fp16": {"enabled": "auto"}}
                """, "per_device_train_batch_size: 3\nmax_grad_norm: 2.0\nbf16: true\n");

        assertThat(loaded.config().step().rowsPerRank()).isEqualTo(3);
        assertThat(loaded.config().step().accumulation()).isEqualTo(1);
        assertThat(loaded.config().step().maxGradNorm()).isEqualTo(2.0);
        assertThat(loaded.config().model().computeType()).isEqualTo(TrainingConfig.ComputeType.BFLOAT16);
    }

    @Test
    void theSameValueInBothPlacesIsNoContradiction() throws IOException {
        Loaded loaded = load(
                "{\"gradient_clipping\": 1, \"sequence_parallel_size\": 2, \"train_batch_size\": 24}",
                "max_grad_norm: 1.0\ncp_size: 2\nnum_ranks: 6\n");

        assertThat(loaded.config().parallel().sequenceParallelSize()).isEqualTo(2);
    }

    /** per_device_train_batch_size 1, accumulation 8: three groups of two ranks take 24 rows a step. */
    @ParameterizedTest
    @ValueSource(strings = {"sequence_parallel_size", "cp_size", "parallelism_config_sp_size"})
    void theGlobalBatchCountsGroupsWhateverTheirSizeIsCalled(String key) throws IOException {
        String yaml = key + ": 2\nnum_ranks: 6\nper_device_train_batch_size: 1\ngradient_accumulation_steps: 8\n";

        assertThat(load("{\"train_batch_size\": 24}", yaml).config().parallel().sequenceParallelSize())
                .isEqualTo(2);
        assertThatThrownBy(() -> load("{\"train_batch_size\": 48}", yaml))
                .hasMessageContaining("x data-parallel groups; write 24 or \"auto\"");
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3})
    void theStageIsZeroStage(int stage) throws IOException {
        Loaded loaded = load(
                "{\"zero_optimization\": {\"stage\": %d, \"offload_optimizer\": {\"device\": \"cpu\"}}}"
                        .formatted(stage),
                "");

        assertThat(loaded.config().parallel().zeroStage()).isEqualTo(stage);
        assertThat(loaded.config().parallel().offloadsOptimizer()).isTrue();
        assertThat(loaded.notes()).isEmpty();
    }

    @Test
    void activationsInHostMemoryAreOffloaded() throws IOException {
        Loaded here = load("{\"activation_checkpointing\": {\"partition_activations\": true}}", "");
        Loaded away = load("{\"activation_checkpointing\": {\"cpu_checkpointing\": true}}", "");

        assertThat(here.config().parallel().offloadsActivations()).isFalse();
        assertThat(away.config().parallel().offloadsActivations()).isTrue();
    }

    @Test
    void aStageThatContradictsZeroStageIsRefused() {
        assertThatThrownBy(() -> load("{\"zero_optimization\": {\"stage\": 3}}", "zero_stage: 2\n"))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("zero_optimization.stage 3 contradicts zero_stage 2");
    }

    @Test
    void aValueAsLongAsADocumentIsShownWithoutItsMiddle() {
        String nested = "[{\"some_key\": ".repeat(450) + "1" + "}]".repeat(450);

        assertThatThrownBy(() -> load("{\"fp16\": {\"enabled\": %s}}".formatted(nested), ""))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("fp16 [{some_key: [{some_key: ")
                .hasMessageContaining("ds.json")
                .satisfies(refused -> assertThat(refused.getMessage()).hasSizeLessThan(4500));
    }

    @Test
    void theMappingItselfMayStandInTheYaml() {
        String file = ConfigFileTest.write(
                folder, ConfigFileTest.SMALLEST + "deepspeed:\n  gradient_accumulation_steps: 5\n");

        Loaded loaded = ConfigFile.load(Sources.ofFile(file), new Configuration(false));

        assertThat(loaded.config().step().accumulation()).isEqualTo(5);
    }

    private Loaded load(String json, String yaml) throws IOException {
        Path deepSpeed = folder.resolve("ds.json");
        Files.writeString(deepSpeed, json);
        String file = ConfigFileTest.write(folder, ConfigFileTest.SMALLEST + yaml + "deepspeed: " + deepSpeed + "\n");
        return ConfigFile.load(Sources.ofFile(file), new Configuration(false));
    }
}
