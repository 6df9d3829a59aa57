package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.job.TinyRun.Result;

class PlanCommandTest {
    @TempDir
    private Path temporary;

    private Path yaml = Path.of("");

    @BeforeEach
    void write() throws IOException {
        yaml = Files.writeString(temporary.resolve("run.yaml"), """
                model_name_or_path: ../conf/quickstart/model
                finetuning_type: full
                dataset: d
                output_dir: %s
                sequence_parallel_size: 2
                num_ranks: 4
                per_device_train_batch_size: 1
                gradient_accumulation_steps: 3
                """.formatted(temporary.resolve("out")));
    }

    @Test
    void saysWhatARunNeedsAndStartsNothing() {
        Result result = TinyRun.run("plan", yaml.toString());

        assertThat(result.err()).isEmpty();
        assertThat(result.code()).isZero();
        assertThat(result.out())
                .contains("quickstart/model: 1,229,952 parameters, 4 layers, D 128, F 352, N 8, K 2, H 16, V 4096")
                .contains("ranks  4: 2 x sequence_parallel_size 2; float32, activation_memory attention")
                .contains("batch  1 x 2,048 tokens a group and micro-batch (S 2,048, s 1,024),"
                        + " gradient_accumulation_steps 3")
                .contains("memory of a rank on cpu")
                .contains("    weights                   4.7 MiB  float32; they are the master weights too")
                .contains("  * loss: one tile           16.0 MiB  1024 x V logits")
                .contains("    checkpoint's copy         3.5 MiB  while it is written; save_strategy: no needs none")
                // 3 micro-batches x 4 layers x 3 (2 N + 2 K) x 1024 tokens x 16 x 4 bytes; half of it leaves
                .contains("  all-to-all     47.2 MB; 23.6 MB")
                .contains("  all-reduce     4.9 MB; 7.4 MB")
                .containsPattern("best of \\d+ ways to run this step on 4 ranks of cpu; \\d+ of them fit")
                .containsPattern("\n  sequence_parallel_size: 2 +the best with 4 takes ")
                .containsPattern("\n  gradient_accumulation_steps: \\d+ for the same rows a step\n")
                .contains("other devices")
                .contains("  h100     fits: ")
                .contains("assumes");
        assertThat(temporary.resolve("out")).doesNotExist();
    }

    @Test
    void plansForTheDeviceThatIsNamed() {
        Result result = TinyRun.run("plan", yaml.toString(), "--hardware", "a100-40", "--bf16", "true");

        assertThat(result.out())
                .contains("memory of a rank on a100-40")
                .contains("    master weights ")
                .contains("  fits: ")
                .containsPattern("\n  h200     fits: .* GiB \\(\\d+ %\\); .* m?s a step, .* tokens/s\n")
                .contains("\n  cpu      fits: ");
    }

    @Test
    void saysWhatWouldFit() {
        Result result = TinyRun.run(
                "plan", yaml.toString(), "--hardware=l40s", "bf16=true", "cutoff_len=24000000", "num_ranks=2");

        assertThat(result.code()).isZero();
        assertThat(result.out())
                .containsPattern(
                        "does not fit: .* would fit with .*sequence_parallel_size: \\d .*, or cutoff_len: \\d+\n");
    }

    @Test
    void unevenHeadsShowTheirCost() {
        Result result =
                TinyRun.run("plan", yaml.toString(), "sequence_parallel_size=3", "num_ranks=3", "cutoff_len=2049");

        assertThat(result.out())
                .contains("heads  8 query and 2 kv heads don't divide by 3: the busiest rank computes 3 and 2; q, k, v"
                        + " travel as 16 heads instead of 12");
    }

    @Test
    void refusesWhatCantBePlanned() {
        Result group = TinyRun.run("plan", yaml.toString(), "sequence_parallel_size=16", "num_ranks=16");
        Result hardware = TinyRun.run("plan", yaml.toString(), "--hardware", "tpu");

        assertThat(group.code()).isEqualTo(2);
        assertThat(group.err()).contains("sequence_parallel_size 16 is more than num_attention_heads 8; use at most 8");
        assertThat(hardware.code()).isEqualTo(2);
        assertThat(hardware.err())
                .contains("hardware tpu is not in hardware.yaml; use one of h100, h200, a100-80, a100-40, l40s, cpu");
    }
}
