package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.data.PackedDataset;

/**
 * YAML files that {@code llamafactory-cli train} ran (LLaMA-Factory 0.9.5, CPU, float32), run here unchanged but for folders: same
 * rows, same losses, gradient norms, rates and weights; {@link RecordedByHand} has other layouts. The files are described in src/test/resources/recorded/README.md.
 */
@ExtendWith(SharedCluster.class)
class RecordedRunsTest {
    /** Final weights are recorded as a sample: every eighth of each tensor, counted flat. */
    private static final int STRIDE = 8;

    /** LLaMA-Factory divides by the labels of a block, 512, of which 511 can be predicted; ours divides by these. */
    private static final double PREDICTIONS_OF_A_BLOCK = 511.0 / 512.0;

    @TempDir
    Path folder;

    @ParameterizedTest(name = "{0} on {3} ranks")
    @CsvSource({"pt-full, llama-64, small-bpe-llama3, 1", "sft-neat-packing, llama-64, small-bpe-llama3, 2"})
    void sameYamlGivesTheSameRun(String name, String model, String tokenizer, int ranks) throws IOException {
        Resources.copy("recorded/data", folder.resolve("data"));
        Resources.copy("recorded/" + name, folder.resolve(name));
        Resources.copy("recorded/models/" + model, folder.resolve("models").resolve(model));
        Resources.copyTokenizer(tokenizer, folder.resolve("models").resolve(model));
        Results recorded = new Results(folder.resolve(name));

        JobRun.of(
                        "train",
                        folder.resolve(name).resolve("config.yaml").toString(),
                        "dataset_dir=" + folder.resolve("data"),
                        "model_name_or_path=" + folder.resolve("models").resolve(model),
                        "output_dir=" + folder.resolve("out"),
                        "sequence_parallel_size=" + ranks,
                        "num_ranks=" + ranks,
                        "offload_activations=" + (ranks > 1)) // which changes no number
                .succeeded();
        Results ours = new Results(folder.resolve("out"));

        expectSameRows(recorded.json("data.json").path("train_dataset"));
        double factor = name.equals("pt-full") ? PREDICTIONS_OF_A_BLOCK : 1;
        double[] factors = new double[recorded.steps().size()];
        Arrays.fill(factors, factor);
        double loss = largestDifference(ours.series("loss"), recorded.series("loss"), factors);
        double norm = largestDifference(ours.series("grad_norm"), recorded.series("grad_norm"), factors);
        Weights start = Weights.of(folder.resolve("models").resolve(model)).every(STRIDE);
        Weights end = Weights.read(folder.resolve(name), "final.safetensors");
        double weights = ours.weights().every(STRIDE).deviation(end, start);
        Measured.note("%s on %d ranks: loss %.1e relative, gradient norm %.1e relative, weights %.1e of their way"
                .formatted(name, ranks, loss, norm, weights));
        assertThat(loss).as("loss, relative").isLessThan(1e-5);
        assertThat(norm).as("gradient norm, relative").isLessThan(1e-4);
        assertThat(weights).as("weights, relative to their way").isLessThan(1e-3);
        assertThat(ours.series("learning_rate")).containsExactly(recorded.series("learning_rate"));
        assertThat(ours.series("epoch")).containsExactly(recorded.series("epoch"));
        expectSameSummary(ours, recorded, factor);
    }

    /** The adapter that each run starts from, as the recording did, and that PEFT wrote. */
    @ParameterizedTest(name = "{0} on {4} ranks")
    @CsvSource({
        "sft-packing, llama-64, llama-64-r8, small-bpe-llama3, 2, llamafactory",
        "sft-eval-qwen2, qwen2-112, qwen2-112-r8, small-bpe-qwen, 2, auto"
    })
    void sameYamlTrainsTheSameAdapter(
            String name, String model, String adapter, String tokenizer, int ranks, String packingMode)
            throws IOException {
        Resources.copy("recorded/data", folder.resolve("data"));
        Resources.copy("recorded/" + name, folder.resolve(name));
        Resources.copy(
                "recorded/adapters/" + adapter, folder.resolve("adapters").resolve(adapter));
        Resources.copy("recorded/models/" + model, folder.resolve("models").resolve(model));
        Resources.copyTokenizer(tokenizer, folder.resolve("models").resolve(model));
        Results recorded = new Results(folder.resolve(name));

        JobRun.of(
                        "train",
                        folder.resolve(name).resolve("config.yaml").toString(),
                        "dataset_dir=" + folder.resolve("data"),
                        "model_name_or_path=" + folder.resolve("models").resolve(model),
                        "adapter_name_or_path=" + folder.resolve("adapters").resolve(adapter),
                        "packing_mode=" + packingMode,
                        "output_dir=" + folder.resolve("out"),
                        "sequence_parallel_size=" + ranks,
                        "num_ranks=" + ranks)
                .succeeded();
        Results ours = new Results(folder.resolve("out"));

        double[] factors = predictionsOfLabels(name, recorded.steps().size());
        double loss = largestDifference(ours.series("loss"), recorded.series("loss"), factors);
        double norm = largestDifference(ours.series("grad_norm"), recorded.series("grad_norm"), factors);
        String file = "adapter_model.safetensors";
        Weights start = Weights.read(folder.resolve("adapters").resolve(adapter), file);
        Weights end = Weights.read(folder.resolve(name), "final.safetensors");
        double weights = Weights.read(folder.resolve("out"), file).deviation(end, start);
        Measured.note("%s on %d ranks: loss %.1e relative, gradient norm %.1e relative, adapter %.1e of its way"
                .formatted(name, ranks, loss, norm, weights));
        assertThat(loss).as("loss, relative").isLessThan(1e-5);
        assertThat(norm).as("gradient norm, relative").isLessThan(1e-4);
        assertThat(weights).as("adapter, relative to its way").isLessThan(1e-3);
        assertThat(ours.series("learning_rate")).containsExactly(recorded.series("learning_rate"));
        expectSameEvaluations(ours, recorded);
        assertThat(folder.resolve("out/adapter_config.json")).exists();
        assertThat(folder.resolve("out/tokenizer.json")).exists();
        assertThat(folder.resolve("out/model.safetensors")).doesNotExist();
    }

    /**
     * Predictions over labels, step by step: where prompts are trained, the first token of each of the eight rows of a step is a
     * label that nothing predicts, and LLaMA-Factory divides by it, too.
     */
    private double[] predictionsOfLabels(String name, int steps) throws IOException {
        double[] factors = new double[steps];
        Arrays.fill(factors, 1);
        if (name.equals("sft-train-on-prompt")) {
            try (PackedDataset rows =
                    PackedDataset.open(folder.resolve("out/prepared/train").toString(), folder.resolve("scratch"))) {
                for (int step = 0; step < steps; step++) {
                    double labels = 0;
                    for (long row = 8L * step; row < 8L * (step + 1); row++) {
                        labels += rows.row(row).ids().length;
                    }
                    factors[step] = (labels - 8) / labels;
                }
            }
        }
        return factors;
    }

    /** LLaMA-Factory averages the means of batches, ours are over all tokens: alike, not equal. What was learnt in between is. */
    private static void expectSameEvaluations(Results ours, Results recorded) {
        double[] expected = recorded.evaluations();
        double[] actual = ours.evaluations();
        assertThat(actual).hasSameSizeAs(expected);
        for (int i = 0; i < expected.length; i++) {
            assertThat(actual[i]).as("eval_loss %d", i).isCloseTo(expected[i], within(5e-3 * expected[i]));
            double learnt = expected[0] - expected[i];
            assertThat(actual[0] - actual[i]).as("learnt until %d", i).isCloseTo(learnt, within(0.1 * learnt));
        }
    }

    /** SHA-256 over the ids of all rows, padding included, as int32 in little-endian order. */
    private void expectSameRows(JsonNode recorded) throws IOException {
        MessageDigest digest = sha256();
        long tokens = 0;
        try (PackedDataset rows =
                PackedDataset.open(folder.resolve("out/prepared/train").toString(), folder.resolve("scratch"))) {
            assertThat(rows.rows()).isEqualTo(recorded.path("rows").longValue());
            for (long row = 0; row < rows.rows(); row++) {
                int[] ids = rows.row(row).ids();
                ByteBuffer bytes =
                        ByteBuffer.allocate(ids.length * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
                bytes.asIntBuffer().put(ids);
                digest.update(bytes);
                tokens += ids.length;
            }
            assertThat(tokens).isEqualTo(recorded.path("tokens").longValue());
            if (recorded.has("trained_labels")) {
                assertThat(rows.trainedTokens())
                        .isEqualTo(recorded.path("trained_labels").longValue());
            }
        }
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

    private static void expectSameSummary(Results ours, Results recorded, double factor) {
        JsonNode expected = recorded.json("trainer_state.json");
        JsonNode actual = ours.json("trainer_state.json");
        for (String field : new String[] {"epoch", "global_step", "max_steps", "num_train_epochs", "logging_steps"}) {
            assertThat(actual.path(field)).as(field).isEqualTo(expected.path(field));
        }
        double mean = recorded.summary().path("train_loss").doubleValue();
        assertThat(ours.summary().path("train_loss").doubleValue() * factor).isCloseTo(mean, within(1e-5 * mean));
    }

    private static double largestDifference(double[] ours, double[] recorded, double[] factors) {
        assertThat(ours).hasSameSizeAs(recorded);
        double largest = 0;
        for (int step = 0; step < ours.length; step++) {
            largest = Math.max(largest, Math.abs(ours[step] * factors[step] / recorded[step] - 1));
        }
        return largest;
    }
}
