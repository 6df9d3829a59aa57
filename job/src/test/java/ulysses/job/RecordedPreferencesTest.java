package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.data.PackedDataset;

/**
 * Preference training that {@code llamafactory-cli train} ran, run here unchanged but for folders: same pairs, same losses, rewards,
 * rates and weights; {@link RecordedByHand} has the others. The files are described in src/test/resources/README.md.
 */
@ExtendWith(SharedCluster.class)
class RecordedPreferencesTest {
    private static final int STRIDE = 8;

    @TempDir
    Path folder;

    @ParameterizedTest(name = "{0} on {3} ranks")
    @CsvSource({"dpo-lora-sigmoid-ftx, qwen2-112, small-bpe-qwen, 2"})
    void sameYamlGivesTheSamePreferences(String name, String model, String tokenizer, int ranks) throws IOException {
        Results recorded = files(name, model, tokenizer);

        JobRun.of(arguments(name, model, ranks).toArray(String[]::new)).succeeded();
        Results ours = new Results(folder.resolve("out"));

        expectSamePairs(recorded.json("data.json").path("train_dataset"));
        double loss = largestDifference(ours.series("loss"), recorded.series("loss"));
        double norm = largestDifference(ours.series("grad_norm"), recorded.series("grad_norm"));
        double weights = deviation(name, model);
        Measured.note("%s on %d ranks: loss %.1e relative, gradient norm %.1e relative, weights %.1e of their way"
                .formatted(name, ranks, loss, norm, weights));
        assertThat(loss).as("loss, relative").isLessThan(1e-3);
        assertThat(norm).as("gradient norm, relative").isLessThan(1e-3);
        assertThat(weights).as("weights, relative to their way").isLessThan(5e-3);
        assertThat(ours.series("learning_rate")).containsExactly(recorded.series("learning_rate"));
        assertThat(ours.series("epoch")).containsExactly(recorded.series("epoch"));
        expectSameMetrics(ours, recorded);
    }

    /** The second run finds what the first has stored, and reads no reference model. */
    @Test
    void referenceComputedBeforehandGivesTheSameRun() throws IOException {
        Results recorded = files("dpo-full-ipo", "llama-64", "small-bpe-llama3");
        List<String> arguments = new ArrayList<>(arguments("dpo-full-ipo", "llama-64", 2));
        arguments.add("precompute_ref_logps=true");
        arguments.add("max_samples=8"); // two steps, whose losses no schedule has touched: the first rate is 0
        JobRun.of(arguments.toArray(String[]::new)).succeeded();
        double[] first = new Results(folder.resolve("out")).series("loss");
        Path stored = storedReference();
        byte[] before = Files.readAllBytes(stored);

        JobRun.of(arguments.toArray(String[]::new)).succeeded();

        assertThat(largestDifference(first, Arrays.copyOf(recorded.series("loss"), 2)))
                .isLessThan(1e-3);
        assertThat(new Results(folder.resolve("out")).series("loss")).containsExactly(first);
        assertThat(storedReference()).isEqualTo(stored);
        assertThat(Files.readAllBytes(stored)).isEqualTo(before);
    }

    private Path storedReference() throws IOException {
        try (Stream<Path> files = Files.list(folder.resolve("out/prepared/train"))) {
            List<Path> found = files.filter(
                            file -> file.getFileName().toString().startsWith("reference_logps-"))
                    .toList();
            assertThat(found).hasSize(1);
            return found.get(0);
        }
    }

    /** Packed pairs, held back pairs and evaluation: the first evaluation is before anything was learnt, at a rate of 0. */
    @Test
    void packedPairsAreTrainedAndEvaluated() throws IOException {
        files("dpo-lora-sigmoid", "llama-64", "small-bpe-llama3");
        List<String> arguments = new ArrayList<>(arguments("dpo-lora-sigmoid", "llama-64", 2));
        arguments.removeIf(argument -> argument.startsWith("adapter_name_or_path="));
        arguments.addAll(List.of(
                "adapter_name_or_path=null",
                "packing=true",
                "val_size=0.125",
                "eval_strategy=steps",
                "eval_steps=1",
                "gradient_accumulation_steps=2",
                "max_steps=3"));

        JobRun.of(arguments.toArray(String[]::new)).succeeded();

        Results ours = new Results(folder.resolve("out"));
        assertThat(ours.series("loss")[0]).isCloseTo(Math.log(2), within(1e-9));
        assertThat(ours.series("rewards/margins")[0]).isZero();
        List<JsonNode> evaluations = new ArrayList<>();
        for (JsonNode entry : ours.json("trainer_state.json").path("log_history")) {
            if (entry.has("eval_loss")) {
                evaluations.add(entry);
            }
        }
        assertThat(evaluations).hasSize(3);
        assertThat(evaluations.get(0).path("eval_loss").doubleValue()).isCloseTo(Math.log(2), within(1e-9));
        assertThat(evaluations.get(2).path("eval_loss").doubleValue()).isNotEqualTo(Math.log(2));
        assertThat(evaluations.get(2).has("eval_rewards/accuracies")).isTrue();
        assertThat(evaluations.get(2).path("eval_logps/chosen").doubleValue()).isNegative();
        assertThat(ours.json("eval_results.json").has("eval_rewards/margins")).isTrue();
        assertThat(ours.lines("trainer_log.jsonl").get(0).has("accuracy")).isTrue();
    }

    private Results files(String name, String model, String tokenizer) {
        Resources.copy("recorded/data", folder.resolve("data"));
        Resources.copy("recorded/" + name, folder.resolve(name));
        Resources.copy("recorded/adapters/" + model + "-r8", folder.resolve("adapters/" + model + "-r8"));
        for (String one : name.equals("dpo-full-ipo") ? List.of(model, model + "-reference") : List.of(model)) {
            Resources.copy("recorded/models/" + one, folder.resolve("models").resolve(one));
            Resources.copyTokenizer(tokenizer, folder.resolve("models").resolve(one));
        }
        return new Results(folder.resolve(name));
    }

    private List<String> arguments(String name, String model, int ranks) {
        List<String> arguments = new ArrayList<>(List.of(
                "train",
                folder.resolve(name).resolve("config.yaml").toString(),
                "dataset_dir=" + folder.resolve("data"),
                "model_name_or_path=" + folder.resolve("models").resolve(model),
                "output_dir=" + folder.resolve("out"),
                "sequence_parallel_size=" + ranks,
                "num_ranks=" + ranks));
        arguments.add(
                name.contains("lora")
                        ? "adapter_name_or_path=" + folder.resolve("adapters/" + model + "-r8")
                        : "ref_model=" + folder.resolve("models").resolve(model + "-reference"));
        return arguments;
    }

    private double deviation(String name, String model) {
        Weights end = Weights.read(folder.resolve(name), "final.safetensors");
        if (!name.contains("lora")) {
            Weights start = Weights.of(folder.resolve("models").resolve(model)).every(STRIDE);
            return Weights.of(folder.resolve("out")).every(STRIDE).deviation(end, start);
        }
        String file = "adapter_model.safetensors";
        Weights start = Weights.read(folder.resolve("adapters/" + model + "-r8"), file);
        return Weights.read(folder.resolve("out"), file).deviation(end, start);
    }

    /** Rewards, log-probabilities and what orpo adds; logits are recorded over padding, too. */
    private static void expectSameMetrics(Results ours, Results recorded) {
        for (int step = 0; step < recorded.steps().size(); step++) {
            JsonNode actual = ours.steps().get(step);
            recorded.steps().get(step).properties().forEach(field -> {
                double expected = field.getValue().doubleValue();
                boolean measured =
                        field.getKey().contains("/") || field.getKey().endsWith("_loss");
                if (measured && !field.getKey().startsWith("logits/")) {
                    assertThat(actual.path(field.getKey()).doubleValue())
                            .as(field.getKey())
                            .isCloseTo(expected, within(2e-3 + 1e-4 * Math.abs(expected)));
                }
            });
            assertThat(actual.has("logits/chosen")).isTrue();
        }
        JsonNode line = recorded.lines("trainer_log.jsonl").get(0);
        assertThat(ours.lines("trainer_log.jsonl").get(0).path("accuracy")).isEqualTo(line.path("accuracy"));
    }

    /** SHA-256 over the ids of all chosen sides as int32 in little-endian order. */
    private void expectSamePairs(JsonNode recorded) throws IOException {
        MessageDigest digest = sha256();
        long tokens = 0;
        try (PackedDataset rows =
                PackedDataset.open(folder.resolve("out/prepared/train").toString(), folder.resolve("scratch"))) {
            assertThat(rows.rows()).isEqualTo(recorded.path("rows").longValue());
            assertThat(rows.content()).isEqualTo(PackedDataset.Content.PAIRS);
            for (long row = 0; row < rows.rows(); row++) {
                int chosen = rows.row(row).documentLengths()[0];
                ByteBuffer bytes = ByteBuffer.allocate(chosen * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
                bytes.asIntBuffer().put(rows.row(row).ids(), 0, chosen);
                digest.update(bytes);
                tokens += chosen;
            }
        }
        assertThat(tokens).isEqualTo(recorded.path("tokens").longValue());
        assertThat(HexFormat.of().formatHex(digest.digest()))
                .isEqualTo(recorded.path("sha256").textValue());
    }

    private static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    private static double largestDifference(double[] ours, double[] recorded) {
        assertThat(ours).hasSameSizeAs(recorded);
        double largest = 0;
        for (int step = 0; step < ours.length; step++) {
            largest = Math.max(largest, Math.abs(ours[step] / recorded[step] - 1));
        }
        return largest;
    }
}
