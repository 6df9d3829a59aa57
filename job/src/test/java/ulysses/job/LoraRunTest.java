package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/**
 * The life of an adapter: trained on two sequence-parallel ranks with dropout, stopped and resumed bit for bit, merged by export from
 * each of its folders to the same model, trained on. Eight steps, a checkpoint every fourth. The model is one of the hub's cache.
 */
@ExtendWith(SharedCluster.class)
class LoraRunTest {
    private static final String ADAPTER = "adapter_model.safetensors";

    private static final String COMMIT = "0123456789abcdef0123456789abcdef01234567";

    @TempDir
    private static Path shared;

    @TempDir
    private Path folder;

    @BeforeAll
    static void train() throws IOException {
        Resources.copy("recorded/data", shared.resolve("data"));
        Resources.copy("recorded/models/llama-64", model());
        Resources.copyTokenizer("small-bpe-llama3", model());
        Path refs = Files.createDirectories(shared.resolve("home/hub/models--someone--tiny/refs"));
        Files.writeString(refs.resolve("main"), COMMIT);
        JobRun run = job(arguments(shared.resolve("out"))).succeeded();
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

        job(arguments(output)).succeeded();

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
        String yaml =
                Resources.yaml(folder.resolve("merge.yaml"), """
                model_name_or_path: %s
                adapter_name_or_path: %s
                template: llama3
                export_dir: %s
                export_size: 5
                export_device: cpu
                export_legacy_format: false
                """.formatted(model(), output, folder.resolve("merged")));

        JobRun merged = job("export", yaml).succeeded();
        job(
                        "export",
                        output.resolve("checkpoint-8").toString(),
                        "--export_dir",
                        folder.resolve("of-checkpoint").toString())
                .succeeded();
        String[] train = arguments(output);
        train[0] = "export";
        job(Stream.concat(Stream.of(train), Stream.of("export_dir=" + folder.resolve("of-run")))
                        .toArray(String[]::new))
                .succeeded();

        assertThat(Files.readString(output.resolve("adapter_config.json")))
                .contains("\"base_model_name_or_path\" : \"someone/tiny\"");
        assertThat(Files.readString(output.resolve("README.md"))).contains("base_model: someone/tiny");
        assertThat(merged.out()).contains("merged:     " + output);
        for (String withTemplate : List.of("merged", "of-run")) {
            assertThat(folder.resolve(withTemplate).resolve("chat_template.jinja"))
                    .hasSameTextualContentAs(output.resolve("chat_template.jinja"));
        }
        Weights expected = Weights.of(folder.resolve("merged"));
        assertThat(expected.distance(Weights.of(model()))).isGreaterThan(0.01);
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
        job(arguments(
                        output,
                        "adapter_name_or_path=" + shared.resolve("out"),
                        "create_new_adapter=true",
                        "max_steps=1",
                        "lora_dropout=0"))
                .succeeded();
        job(arguments(folder.resolve("on"), "adapter_name_or_path=" + shared.resolve("out"), "max_steps=1"))
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
        job("export", output.resolve("checkpoint-1").toString()).succeeded();
        assertThat(output.resolve("export-1/model.safetensors")).exists();
    }

    /** Where the cache of the hub keeps someone/tiny. */
    private static Path model() {
        return shared.resolve("home/hub/models--someone--tiny/snapshots").resolve(COMMIT);
    }

    private static JobRun job(String... arguments) {
        return JobRun.with(
                Map.of("HF_HUB_OFFLINE", "1", "HF_HOME", shared.resolve("home").toString()), arguments);
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
                "model_name_or_path=someone/tiny",
                "dataset_dir=" + shared.resolve("data"),
                "output_dir=" + output);
        return Stream.concat(arguments.stream(), Stream.of(more)).toArray(String[]::new);
    }
}
