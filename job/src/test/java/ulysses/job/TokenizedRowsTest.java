package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/**
 * Rows that {@code datasets.save_to_disk} wrote elsewhere, trained in their order by a model folder without tokenizer: the 20 steps
 * that PyTorch and transformers recorded (executor-runtime's {@code cases/tiny-llama/curve}).
 */
@ExtendWith(SharedCluster.class)
class TokenizedRowsTest {

    @TempDir
    Path folder;

    @BeforeEach
    void layOut() {
        Resources.copyModel("tiny-llama", folder.resolve("model"));
        Resources.copy("tokenized", folder.resolve("tokenized"));
    }

    @ParameterizedTest(name = "{0}, {1} rows a rank, {2} ranks in groups of {3}")
    @CsvSource({"position_ids, 2, 2, 2", "seq_lengths, 2, 1, 1"})
    void givenRowsTrainInTheirOrder(String rows, int batch, int ranks, int group) throws IOException {
        JsonNode recorded = new ObjectMapper()
                .readTree(Files.readString(
                        Resources.recorded("tiny-llama", "curve").resolve("case.json")));

        JobRun.of(arguments(
                        rows,
                        "per_device_train_batch_size=" + batch,
                        "num_ranks=" + ranks,
                        "sequence_parallel_size=" + group))
                .succeeded();
        Results ours = new Results(folder.resolve("out"));

        List<JsonNode> steps = ours.steps();
        assertThat(steps).hasSize(20);
        double largest = 0;
        for (int step = 0; step < steps.size(); step++) {
            JsonNode expected = recorded.path("steps").path(step);
            double loss = steps.get(step).path("loss").doubleValue();
            largest = Math.max(largest, Math.abs(loss - expected.path("loss").doubleValue()));
            assertThat(steps.get(step).path("learning_rate").doubleValue())
                    .isEqualTo(expected.path("lr").doubleValue());
            double norm = expected.path("grad_norm").doubleValue();
            assertThat(steps.get(step).path("grad_norm").doubleValue()).isCloseTo(norm, within(1e-5 * norm));
        }
        Weights end = Weights.read(Resources.recorded("tiny-llama", "curve"), "final.safetensors");
        double weights = ours.weights().deviation(end, Weights.of(folder.resolve("model")));
        Measured.note("rows of %s, %d a rank, %d ranks in groups of %d: loss %.1e, weights %.1e of their way"
                .formatted(rows, batch, ranks, group, largest, weights));
        assertThat(largest).as("loss").isLessThan(1e-5);
        assertThat(weights).as("weights, relative to their way").isLessThan(1e-3);
    }

    @Test
    void refusesTokensThatTheModelDoesNotKnow() throws IOException {
        String config = Files.readString(folder.resolve("model/config.json"));
        Files.writeString(
                folder.resolve("model/config.json"),
                config.replace("\"vocab_size\": 512", "\"vocab_size\": 300"),
                StandardCharsets.UTF_8);

        JobRun run = JobRun.of(arguments("attention_mask", "num_ranks=1", "train_from_scratch=true"));

        assertThat(run.code()).isEqualTo(3);
        assertThat(run.err())
                .containsPattern(
                        "row 0 of .*data-00000-of-00001.arrow can't be used: token id \\d+ at token \\d+; allowed are 0 to"
                                + " 299, the model's vocab_size being 300; tokenize with the tokenizer of this model");
        assertThat(folder.resolve("out/model.safetensors")).doesNotExist();
    }

    @Test
    void saysWhenTheFolderIsNotThere() {
        JobRun run = JobRun.of(arguments("elsewhere", "num_ranks=1"));

        assertThat(run.code()).isEqualTo(3);
        assertThat(run.err())
                .contains(folder.resolve("tokenized/elsewhere")
                        + " holds no tokenized data, and no dataset is named; check the path, or name a dataset to"
                        + " prepare there");
    }

    private String[] arguments(String rows, String... more) {
        List<String> arguments = new ArrayList<>(List.of(
                "train",
                Resources.yaml(folder.resolve("curve.yaml"), """
                        stage: sft
                        do_train: true
                        finetuning_type: full
                        disable_shuffling: true
                        per_device_train_batch_size: 2
                        gradient_accumulation_steps: 2
                        num_train_epochs: 1.0
                        learning_rate: 1.0e-3
                        lr_scheduler_type: cosine
                        warmup_steps: 3
                        weight_decay: 0.1
                        adam_beta1: 0.9
                        adam_beta2: 0.95
                        max_grad_norm: 1.0
                        logging_steps: 1
                        save_strategy: 'no'
                        """),
                "model_name_or_path=" + folder.resolve("model"),
                "tokenized_path=" + folder.resolve("tokenized").resolve(rows),
                "output_dir=" + folder.resolve("out")));
        arguments.addAll(List.of(more));
        return arguments.toArray(String[]::new);
    }
}
