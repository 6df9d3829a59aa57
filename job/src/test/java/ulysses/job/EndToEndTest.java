package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** One YAML in, a trained model out: what {@code conf/quickstart.yaml} does, in small. */
@ExtendWith(SharedCluster.class)
class EndToEndTest {

    @TempDir
    private static Path folder;

    private static JobRun run = new JobRun(-1, "", "");
    private static Results results = new Results(Path.of(""));
    private static List<JsonNode> seen = List.of();
    private static int statusPort;

    @BeforeAll
    static void train() {
        try (StatusReader reader = StatusReader.start()) {
            run = JobRun.of(arguments(
                            "model_name_or_path=" + quickstart("model"),
                            "train_from_scratch=true",
                            "status_port=" + reader.port()))
                    .succeeded();
            seen = reader.seen();
            statusPort = reader.port();
        }
        results = new Results(folder.resolve("out"));
    }

    @Test
    void saysWhatWasMadeAndWhere() {
        assertThat(run.out())
                .contains("prepared rows: ")
                .contains("done: 14 steps")
                .contains("model:       " + folder.resolve("out"))
                .contains("next: ");
        assertThat(run.err()).isEmpty();
    }

    @Test
    void lossFalls() {
        double[] losses = results.series("loss");

        assertThat(losses).hasSize(14);
        assertThat(losses[13]).isLessThan(losses[0] - 0.5);
    }

    @Test
    void logsAndResultsHaveTheFieldsOfLlamaFactory() {
        Results recorded = new Results(Path.of("src/test/resources/recorded/sft-full"));

        assertThat(Results.keys(results.json("trainer_state.json")))
                .containsAll(Results.keys(recorded.json("trainer_state.json")));
        assertThat(Results.keys(results.steps().get(0)))
                .isEqualTo(Results.keys(recorded.steps().get(0)));
        assertThat(Results.keys(results.summary())).containsAll(Results.keys(recorded.summary()));
        assertThat(Results.keys(results.json("train_results.json")))
                .containsAll(Results.keys(recorded.json("all_results.json")));
        assertThat(Results.keys(results.json("all_results.json")))
                .containsAll(Results.keys(results.json("train_results.json")))
                .containsAll(Results.keys(results.json("eval_results.json")))
                .contains("eval_loss", "eval_runtime", "eval_samples_per_second", "eval_steps_per_second");
        List<JsonNode> lines = results.lines("trainer_log.jsonl");
        List<JsonNode> recordedLines = recorded.lines("trainer_log.jsonl");
        assertThat(lines).hasSize(14 + 2 + 1); // steps, evaluations, the end
        assertThat(Results.keys(lines.get(0))).containsAll(Results.keys(recordedLines.get(0)));
        assertThat(Results.keys(lines.get(16))).containsAll(Results.keys(recordedLines.get(16)));
        assertThat(lines.get(7).has("eval_loss")).isTrue();
    }

    @Test
    void leavesSomethingToLookAt() throws Exception {
        Path out = folder.resolve("out");

        assertThat(run.out())
                .contains("report:      " + out + "/report.html")
                .contains("training_loss.png, training_eval_loss.png")
                .contains("tensorboard: " + out + "/runs/");
        assertThat(out.resolve("training_loss.png")).isNotEmptyFile();
        assertThat(Files.readString(out.resolve("README.md")))
                .contains("| Training Loss | Epoch | Step | Validation Loss |");
        assertThat(Files.readString(out.resolve("report.html")))
                .contains(">done<", "<b>14 / 14</b>", "<b>Throughput</b>", "<b>Memory of rank 0</b>")
                .containsPattern("<mark>[^<]*&lt;\\|eot_id\\|&gt;</mark>");
        assertThat(Files.readString(out.resolve("running_log.txt"))).contains("step 14/14");
        assertThat(out.resolve("runs")).isDirectoryRecursivelyContaining("glob:**/events.out.tfevents.*");
    }

    @Test
    void showsTheRunWhileItGoesOn() throws Exception {
        JsonNode last = seen.get(seen.size() - 1);

        assertThat(run.out()).contains("status page: http://127.0.0.1:" + statusPort + "/");
        assertThat(last.path("step").asInt()).isBetween(1, 14);
        assertThat(last.path("total_steps").asInt()).isEqualTo(14);
        assertThat(last.path("output_dir").asText())
                .isEqualTo(folder.resolve("out").toString());
        assertThat(last.path("rank_table")).hasSize(2);
        assertThat(last.path("rank_table").path(1).path("host").asText()).isEqualTo("127.0.0.1");
        double[] losses = results.series("loss");
        JsonNode curve = last.path("curves").path("loss");
        assertThat(curve).hasSize(last.path("step").asInt());
        for (int i = 0; i < curve.size(); i++) {
            assertThat(curve.path(i).path(0).asInt()).isEqualTo(i + 1);
            assertThat(curve.path(i).path(1).asDouble()).isCloseTo(losses[i], within(1e-4)); // the log rounds
        }
        assertThat(seen.stream().map(answer -> answer.path("state").asText())).contains("not ended");
        assertThat(StatusReader.ask(statusPort)).isEmpty(); // it ends with the run
    }

    @Test
    void everyCheckpointIsCompleteAndAModelFolder() {
        for (int step : new int[] {10, 14}) {
            Path checkpoint = folder.resolve("out/checkpoint-" + step);
            assertThat(checkpoint.resolve("MANIFEST.json")).exists();
            assertThat(checkpoint.resolve("config.json")).exists();
            assertThat(checkpoint.resolve("tokenizer.json")).exists();
            assertThat(checkpoint.resolve("model.safetensors.index.json")).exists();
            assertThat(new Results(checkpoint)
                            .json("trainer_state.json")
                            .path("global_step")
                            .intValue())
                    .isEqualTo(step);
        }
        assertThat(folder.resolve("out/checkpoint-5")).doesNotExist(); // save_total_limit: 2
    }

    @Test
    void theExportIsTheTrainedModel() {
        double loss = results.json("eval_results.json").path("eval_loss").doubleValue();

        Path again = folder.resolve("again");
        JobRun.of(arguments(
                        "model_name_or_path=" + folder.resolve("out/checkpoint-14"),
                        "output_dir=" + again,
                        "learning_rate=1e-30",
                        "max_steps=1",
                        "eval_strategy=no"))
                .succeeded();

        assertThat(new Results(again)
                        .json("eval_results.json")
                        .path("eval_loss")
                        .doubleValue())
                .isCloseTo(loss, within(1e-6));
        assertThat(Weights.of(folder.resolve("out"))
                        .distance(Weights.ofCheckpoint(folder.resolve("out/checkpoint-14"))))
                .isZero();
        assertThat(folder.resolve("out/tokenizer.json"))
                .hasSameBinaryContentAs(quickstart("model").resolve("tokenizer.json"));
        assertThat(results.json("tokenizer_config.json").path("eos_token").textValue())
                .isEqualTo("<|eot_id|>");
        assertThat(folder.resolve("out/chat_template.jinja")).content().contains("<|start_header_id|>assistant");
    }

    @Test
    void theSameCommandAgainFindsRowsAndModelAndTrainsNothing() throws Exception {
        byte[] before = Files.readAllBytes(folder.resolve("out/model.safetensors"));

        JobRun again = JobRun.of(arguments("model_name_or_path=" + quickstart("model"), "train_from_scratch=true"))
                .succeeded();

        assertThat(again.out()).contains("found prepared rows: ").contains("done: nothing was left to train");
        assertThat(Files.readAllBytes(folder.resolve("out/model.safetensors"))).isEqualTo(before);
        assertThat(results.steps()).hasSize(14);
    }

    private static Path quickstart(String name) {
        return Resources.QUICKSTART.resolve(name).toAbsolutePath().normalize();
    }

    private static String[] arguments(String... more) {
        List<String> arguments = new ArrayList<>(List.of(
                "train",
                Resources.yaml(folder.resolve("small.yaml"), """
                        stage: sft
                        do_train: true
                        do_eval: true
                        finetuning_type: full
                        template: llama3
                        dataset: identity,alpaca_en_demo
                        max_samples: 30
                        val_size: 0.1
                        cutoff_len: 256
                        sequence_parallel_size: 2
                        num_ranks: 2
                        per_device_train_batch_size: 2
                        per_device_eval_batch_size: 2
                        gradient_accumulation_steps: 2
                        num_train_epochs: 1.0
                        learning_rate: 5.0e-3
                        logging_steps: 1
                        save_steps: 5
                        save_total_limit: 2
                        eval_strategy: steps
                        eval_steps: 7
                        plot_loss: true
                        report_to: tensorboard
                        """),
                "dataset_dir=" + quickstart("data"),
                "output_dir=" + folder.resolve("out")));
        arguments.addAll(List.of(more));
        return arguments.toArray(String[]::new);
    }
}
