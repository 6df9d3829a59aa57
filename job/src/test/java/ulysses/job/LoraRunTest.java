package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/**
 * The life of an adapter: trained on two sequence-parallel ranks with dropout, stopped and resumed bit for bit, merged by export from
 * each of its folders to the same model, trained on. Eight steps, a checkpoint every fourth.
 */
@ExtendWith(SharedCluster.class)
class LoraRunTest {
    private static final String ADAPTER = "adapter_model.safetensors";

    @TempDir
    private static Path shared;

    @TempDir
    private Path folder;

    @BeforeAll
    static void train() {
        Resources.copy("recorded/data", shared.resolve("data"));
        Resources.copy("recorded/models/llama-64", shared.resolve("model"));
        Resources.copyTokenizer("small-bpe-llama3", shared.resolve("model"));
        JobRun run = JobRun.of(arguments(shared.resolve("out"))).succeeded();
        assertThat(run.out())
                .contains(
                        "trained: 9,088 parameters of an adapter (rank 4, scaling 2.0, on down_proj, gate_proj, k_proj,")
                .contains("(a PEFT folder: adapter_config.json, adapter_model.safetensors, tokenizer, model card)");
    }

    @Test
    void resumesBitForBitAndStoresTheAdapterAlone() throws IOException {
        Path output = folder.resolve("out");
        Resources.copy(shared.resolve("out"), output);
        delete(output.resolve("checkpoint-8"));
        Files.delete(output.resolve(ADAPTER));

        JobRun.of(arguments(output)).succeeded();

        assertThat(Files.mismatch(output.resolve(ADAPTER), shared.resolve("out").resolve(ADAPTER)))
                .isEqualTo(-1);
        Path checkpoint = output.resolve("checkpoint-8");
        assertThat(Files.mismatch(checkpoint.resolve(ADAPTER), output.resolve(ADAPTER)))
                .as("a checkpoint is a PEFT folder too")
                .isEqualTo(-1);
        try (Stream<Path> files = Files.walk(checkpoint)) {
            long bytes = files.filter(file -> file.toString().endsWith(".safetensors"))
                    .mapToLong(file -> file.toFile().length())
                    .sum();
            assertThat(bytes).as("weights twice, moments").isBetween(4L * 4 * 9_088, 4L * 4 * 9_088 + 40_000);
        }
        assertThat(new Results(output).steps()).isEqualTo(new Results(shared.resolve("out")).steps());
    }

    @Test
    void everyWayToExportMergesToTheSameModel() throws IOException {
        Path output = shared.resolve("out");
        String yaml = Resources.yaml(
                folder.resolve("merge.yaml"), """
                model_name_or_path: %s
                adapter_name_or_path: %s
                template: llama3
                export_dir: %s
                export_size: 5
                export_device: cpu
                export_legacy_format: false
                """.formatted(shared.resolve("model"), output, folder.resolve("merged")));

        JobRun merged = JobRun.of("export", yaml).succeeded();
        JobRun.of(
                        "export",
                        output.resolve("checkpoint-8").toString(),
                        "--export_dir",
                        folder.resolve("of-checkpoint").toString())
                .succeeded();
        String[] train = arguments(output);
        train[0] = "export";
        JobRun.of(Stream.concat(Stream.of(train), Stream.of("export_dir=" + folder.resolve("of-run")))
                        .toArray(String[]::new))
                .succeeded();

        assertThat(merged.out()).contains("merged:     " + output);
        Weights expected = Weights.of(folder.resolve("merged"));
        assertThat(expected.distance(Weights.of(shared.resolve("model")))).isGreaterThan(0.01);
        for (String other : List.of("of-checkpoint", "of-run")) {
            assertThat(Files.mismatch(
                            folder.resolve(other).resolve("model.safetensors"),
                            folder.resolve("merged/model.safetensors")))
                    .as(other)
                    .isEqualTo(-1);
        }
        assertThat(folder.resolve("merged/tokenizer.json")).exists();
    }

    @Test
    void aNewAdapterOnTheMergedModelStartsWhereTheOldOneEnded() throws IOException {
        Path output = folder.resolve("next");
        JobRun.of(arguments(
                        output,
                        "adapter_name_or_path=" + shared.resolve("out"),
                        "create_new_adapter=true",
                        "max_steps=1",
                        "lora_dropout=0"))
                .succeeded();
        JobRun.of(arguments(folder.resolve("on"), "adapter_name_or_path=" + shared.resolve("out"), "max_steps=1"))
                .succeeded();

        double fresh = new Results(output).series("loss")[0];
        double on = new Results(folder.resolve("on")).series("loss")[0];
        double first = new Results(shared.resolve("out")).series("loss")[0];
        assertThat(fresh).isLessThan(first - 0.1);
        assertThat(on)
                .as("with the dropout of its own config")
                .isBetween(fresh - 0.2, fresh + 0.2)
                .isNotEqualTo(fresh);
        assertThat(Files.readString(output.resolve("merged_adapters.json")))
                .contains(shared.resolve("out").toString());
        JobRun.of("export", output.resolve("checkpoint-1").toString()).succeeded();
        assertThat(output.resolve("export-1/model.safetensors")).exists();
    }

    private static void delete(Path folder) throws IOException {
        try (Stream<Path> found = Files.walk(folder)) {
            for (Path path : found.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }

    private static String[] arguments(Path output, String... more) {
        List<String> arguments = List.of(
                "train",
                Resources.yaml(output.resolveSibling("lora.yaml"), """
                        stage: sft
                        do_train: true
                        lora_rank: 4
                        lora_dropout: 0.1
                        template: llama3
                        dataset: identity
                        max_samples: 16
                        cutoff_len: 128
                        sequence_parallel_size: 2
                        num_ranks: 2
                        per_device_train_batch_size: 1
                        gradient_accumulation_steps: 2
                        num_train_epochs: 1.0
                        learning_rate: 5.0e-3
                        logging_steps: 1
                        save_steps: 4
                        """),
                "model_name_or_path=" + shared.resolve("model"),
                "dataset_dir=" + shared.resolve("data"),
                "output_dir=" + output);
        return Stream.concat(arguments.stream(), Stream.of(more)).toArray(String[]::new);
    }
}
