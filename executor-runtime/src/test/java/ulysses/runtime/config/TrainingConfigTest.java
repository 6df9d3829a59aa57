package ulysses.runtime.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TrainingConfigTest {
    @TempDir
    Path folder;

    @Test
    void jsonRoundTripGivesAnEqualConfig() {
        TrainingConfig small = load("");
        TrainingConfig full = load("""
                stage: pt
                template: llama3
                rope_scaling: yarn
                lr_scheduler_type: polynomial
                lr_scheduler_kwargs: {power: 2.0, lr_end: 1e-7}
                learning_rate: 0.1234567890123456
                default_system: "line\\nline \\u4e2d"
                enable_thinking: null
                eval_dataset: a,b
                eval_strategy: epoch
                device: cuda
                save_strategy: epoch
                resume_from_checkpoint: out/checkpoint-3
                max_shard_size: 123MB
                """);

        assertThat(TrainingConfig.fromJson(small.toJson())).isEqualTo(small);
        assertThat(TrainingConfig.fromJson(full.toJson())).isEqualTo(full);
        assertThat(full.toJson()).doesNotContain("\n");
    }

    @Test
    void jsonWithoutAPartIsRefused() {
        assertThatThrownBy(() -> TrainingConfig.fromJson("{\"model\": null}"))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageStartingWith("not the JSON of a configuration: Missing creator property 'data'");
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "stage: pt",
                "dataset: other",
                "dataset_dir: elsewhere",
                "template: qwen",
                "cutoff_len: 1024",
                "packing: true",
                "neat_packing: true",
                "train_on_prompt: true",
                "mask_history: true",
                "max_samples: 7",
                "default_system: ''",
                "enable_thinking: false",
                "preserve_thinking: true",
                "split_special_tokens: true",
                "mix_strategy: interleave_under",
                "preprocessing_batch_size: 500",
                "val_size: 0.1",
                "eval_dataset: identity",
                "seed: 43",
                "tool_date: 02 Jan 2026"
            })
    void fingerprintChangesWithTheContentOfPreparedRows(String line) {
        assertThat(load(line).dataFingerprint()).hasSize(64).isNotEqualTo(load("").dataFingerprint());
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "learning_rate: 1",
                "bf16: true",
                "preprocessing_num_workers: 16",
                "overwrite_cache: true",
                "prepared_dir: elsewhere",
                "sequence_parallel_size: 4",
                "output_dir: elsewhere",
                "disable_shuffling: true"
            })
    void fingerprintDoesNotChangeWithTheRest(String line) {
        assertThat(load(line).dataFingerprint()).isEqualTo(load("").dataFingerprint());
    }

    @Test
    void fingerprintIsTheSameInEveryProcess() {
        assertThat(load("dataset_dir: /data").dataFingerprint())
                .isEqualTo("61686e2bf8d823a5f0b80647bd1874b5b1da10f8fb7b9b54aca166d00275bfbc");
    }

    private TrainingConfig load(String more) {
        String needed = more.startsWith("dataset: ")
                ? ConfigFileTest.SMALLEST.replace("dataset: identity\n", "")
                : ConfigFileTest.SMALLEST;
        if (more.startsWith("output_dir")) {
            needed = needed.replace("output_dir: out\n", "");
        }
        String file = ConfigFileTest.write(folder, needed + more);
        return ConfigFile.load(ConfigFile.Sources.ofFile(file), new Configuration(false))
                .config();
    }
}
