package ulysses.runtime.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.gradient.GradientBuckets;
import ulysses.runtime.optimizer.AdamW;
import ulysses.runtime.optimizer.LearningRateSchedule;
import ulysses.runtime.segment.Parameter;

/** One rank against what transformers computed: float32, tolerances of the reference's README. */
final class PeerParityTest {

    private static final List<String> COLUMNS = List.of(
            "logits", "loss", "gradients", "norm", "loss of 20 steps", "norm of 20 steps", "weights after 20 steps");

    /** Model to column to the largest difference seen. */
    private static final Map<String, Map<String, Double>> TABLE = new TreeMap<>();

    @ParameterizedTest
    @ValueSource(strings = {"tiny-llama", "tiny-llama31", "tiny-qwen2", "tiny-qwen3", "tiny-mistral"})
    void givesLogitsAndHiddenStatesOfTransformers(String name) {
        try (TinyModel tiny = new TinyModel(name, new SingleRank("test"), true)) {
            int[] ids = tiny.ints("forward", "tensors.safetensors", "input_ids");
            int length = ids.length / 2;
            int[] positions =
                    IntStream.range(0, ids.length).map(t -> t % length).toArray();

            float[][] result = tiny.hiddenAndLogits(ids, positions, new int[] {0, length, 2 * length});

            assertThat(largestDifference(result[0], tiny.floats("forward", "tensors.safetensors", "hidden.norm")))
                    .isLessThan(1e-5);
            double logits = largestDifference(result[1], tiny.floats("forward", "tensors.safetensors", "logits"));
            assertThat(noted(name, "logits", logits)).isLessThan(1e-5);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "tiny-llama,true",
        "tiny-llama31,true",
        "tiny-qwen2,true",
        "tiny-qwen3,true",
        "tiny-mistral,true",
        "tiny-llama,false",
        "tiny-qwen3,false"
    })
    void givesLossAndEveryGradientOfPackedDocuments(String name, boolean checkpointing) {
        try (TinyModel tiny = new TinyModel(name, new SingleRank("test"), checkpointing)) {
            MicroBatch batch = packed(tiny, "packed", 0);

            double loss = tiny.accumulate(batch, batch.trainedTokens()) / batch.trainedTokens();

            assertThat(batch.trainedTokens())
                    .isEqualTo(tiny.json("packed").get("valid_labels").asLong());
            double expectedLoss =
                    tiny.json("packed").get("loss_f64_from_f32_logits").asDouble();
            assertThat(noted(name, "loss", Math.abs(loss - expectedLoss))).isLessThan(1e-6);
            for (Parameter parameter : tiny.parameters().all()) {
                float[] expected = tiny.floats("packed", "gradients.safetensors", "grad." + parameter.name());
                double difference = relative(TinyModel.floats(parameter.gradient()), expected);
                assertThat(noted(name, "gradients", difference))
                        .as(parameter.name())
                        .isLessThan(1e-5);
            }
            double norm = new GradientBuckets(tiny.parameters(), new SingleRank("test")).norm();
            double expectedNorm = tiny.json("packed").get("grad_norm").asDouble();
            assertThat(noted(name, "norm", Math.abs(norm / expectedNorm - 1))).isLessThan(1e-6);
        }
    }

    @ParameterizedTest
    @CsvSource({
        "tiny-llama,lora,true",
        "tiny-llama,lora,false",
        "tiny-llama,lora-rslora,true",
        "tiny-qwen2,lora,true",
        "tiny-qwen3,lora,true"
    })
    void givesLossAndEveryGradientOfAnAdapter(String name, String caseName, boolean checkpointing) {
        try (TinyModel tiny = TinyModel.withAdapter(name, caseName, new SingleRank("test"), checkpointing)) {
            MicroBatch batch = packed(tiny, "packed", 0);
            String row = name + ", " + caseName;

            double loss = tiny.accumulate(batch, batch.trainedTokens()) / batch.trainedTokens();

            double expectedLoss = tiny.json(caseName).get("loss").asDouble();
            assertThat(noted(row, "loss", Math.abs(loss - expectedLoss))).isLessThan(1e-6);
            assertThat(tiny.parameters().trained()).hasSize(2 * 7 * 2);
            for (Parameter parameter : tiny.parameters().trained()) {
                float[] expected = tiny.floats(caseName, "gradients.safetensors", "grad." + parameter.name());
                double difference = relative(TinyModel.floats(parameter.gradient()), expected);
                assertThat(noted(row, "gradients", difference))
                        .as(parameter.name())
                        .isLessThan(1e-5);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"tiny-llama,lora", "tiny-qwen3,lora"})
    void anAdapterThatIsOffLeavesTheModelAsItWas(String name, String caseName) {
        try (TinyModel tiny = TinyModel.withAdapter(name, caseName, new SingleRank("test"), true)) {
            int[] ids = tiny.ints("forward", "tensors.safetensors", "input_ids");
            int length = ids.length / 2;
            int[] positions =
                    IntStream.range(0, ids.length).map(t -> t % length).toArray();
            int[] ends = {0, length, 2 * length};
            float[] expected = tiny.floats("forward", "tensors.safetensors", "logits");

            float[] off = TinyModel.hiddenAndLogits(tiny.model().withoutAdapters(), ids, positions, ends)[1];
            float[] on = tiny.hiddenAndLogits(ids, positions, ends)[1];

            assertThat(largestDifference(off, expected)).isLessThan(1e-5);
            assertThat(largestDifference(on, expected)).isGreaterThan(1e-2);
        }
    }

    /** Merged without native code, then asked: PEFT's {@code merge_and_unload} gave the recorded logits. */
    @ParameterizedTest
    @ValueSource(strings = {"tiny-llama", "tiny-qwen2", "tiny-qwen3"})
    void givesLogitsOfAMergedAdapter(String name) {
        try (TinyModel tiny = TinyModel.merged(name, "lora/final_adapter")) {
            int[] ids = tiny.ints("forward", "tensors.safetensors", "input_ids");
            int length = ids.length / 2;
            int[] positions =
                    IntStream.range(0, ids.length).map(t -> t % length).toArray();

            float[] logits = tiny.hiddenAndLogits(ids, positions, new int[] {0, length, 2 * length})[1];

            double gap = largestDifference(logits, tiny.floats("lora", "merged.safetensors", "logits"));
            assertThat(noted(name + ", lora", "logits", gap)).isLessThan(1e-5);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-llama", "tiny-qwen2", "tiny-qwen3"})
    void givesTheCurveOfAnAdapter(String name) {
        try (TinyModel tiny = TinyModel.withAdapter(name, "lora", new SingleRank("test"), true)) {
            expectCurve(
                    tiny,
                    name + ", lora",
                    0,
                    tiny.json("lora").get("curve"),
                    "lora/final_adapter",
                    "adapter_model.safetensors");
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-llama", "tiny-llama31", "tiny-qwen2", "tiny-qwen3", "tiny-mistral"})
    void givesTheCurveOfTwentySteps(String name) {
        try (TinyModel tiny = new TinyModel(name, new SingleRank("test"), true)) {
            expectCurve(tiny, name, 0.1, tiny.json("curve"), "curve", "final.safetensors");
        }
    }

    /** Twenty steps on the rows of {@code curve}, up to the weights of {@code file}. */
    private static void expectCurve(
            TinyModel tiny, String row, double decay, JsonNode curve, String caseName, String file) {
        StepConfig config =
                new StepConfig(2, 2, 1e-3, 1, 20, "cosine", Map.of(), 0, 3, decay, 0.9, 0.95, 1e-8, 1.0, 42, 42, false);
        try (AdamW adam = new AdamW(tiny.parameters(), config)) {
            LearningRateSchedule schedule = LearningRateSchedule.of(config, 20);
            GradientBuckets gradients = new GradientBuckets(tiny.parameters(), new SingleRank("test"));
            float[] start = TinyModel.floats(tiny.parameters().master());
            for (int step = 0; step < 20; step++) {
                MicroBatch first = packed(tiny, "curve", 2 * step);
                MicroBatch second = packed(tiny, "curve", 2 * step + 1);
                long trained = first.trainedTokens() + second.trainedTokens();
                tiny.parameters().zeroGradients();

                double loss = (tiny.accumulate(first, trained) + tiny.accumulate(second, trained)) / trained;
                double norm = gradients.norm();
                gradients.clip(norm, config.maxGradNorm());
                adam.step(schedule.at(step));

                JsonNode expected = curve.get("steps").get(step);
                assertThat(schedule.at(step)).isCloseTo(expected.get("lr").asDouble(), within(1e-15));
                double lossGap = Math.abs(loss - expected.get("loss").asDouble());
                assertThat(noted(row, "loss of 20 steps", lossGap))
                        .as("loss of step " + step)
                        .isLessThan(1e-5);
                double normGap = Math.abs(norm / expected.get("grad_norm").asDouble() - 1);
                assertThat(noted(row, "norm of 20 steps", normGap)).isLessThan(1e-5);
            }
            assertThat(noted(row, "weights after 20 steps", movedLike(tiny, start, caseName, file)))
                    .isLessThan(1e-3);
        }
    }

    /** Norm of (ours - theirs) over norm of (theirs - start), all weights together. */
    private static double movedLike(TinyModel tiny, float[] start, String caseName, String file) {
        double difference = 0;
        double moved = 0;
        for (Parameter parameter : tiny.parameters().trained()) {
            float[] expected = tiny.floats(caseName, file, parameter.name());
            float[] actual = TinyModel.floats(parameter.value());
            int first =
                    Math.toIntExact(tiny.parameters().stretch(parameter.name()).first());
            for (int i = 0; i < expected.length; i++) {
                difference += Math.pow(actual[i] - expected[i], 2);
                moved += Math.pow(expected[i] - start[first + i], 2);
            }
        }
        return Math.sqrt(difference / moved);
    }

    /** Micro-batch {@code index} of a case with rows of 128 tokens, two rows each. */
    private static MicroBatch packed(TinyModel tiny, String caseName, int index) {
        int from = index * 256;
        return MicroBatch.of(
                TinyModel.rows(
                        part(tiny, caseName, "input_ids", from),
                        part(tiny, caseName, "labels", from),
                        part(tiny, caseName, "document_ids", from),
                        128),
                1);
    }

    private static int[] part(TinyModel tiny, String caseName, String tensor, int from) {
        return Arrays.copyOfRange(tiny.ints(caseName, "inputs.safetensors", tensor), from, from + 256);
    }

    /** {@code difference}, kept for the table if it is the largest of its cell. */
    private static double noted(String model, String column, double difference) {
        TABLE.computeIfAbsent(model, name -> new HashMap<>()).merge(column, difference, Math::max);
        return difference;
    }

    /** The table of executor-runtime/README.md. */
    @AfterAll
    static void writeTable() throws IOException {
        List<String> lines = new ArrayList<>();
        lines.add("| model | " + String.join(" | ", COLUMNS) + " |");
        lines.add("|--".repeat(COLUMNS.size() + 1) + "|");
        TABLE.forEach((model, cells) -> lines.add("| " + model + " | "
                + COLUMNS.stream()
                        .map(column ->
                                cells.containsKey(column) ? String.format(Locale.ROOT, "%.1e", cells.get(column)) : "-")
                        .collect(Collectors.joining(" | "))
                + " |"));
        Files.createDirectories(Path.of("target"));
        Files.write(Path.of("target", "peer-parity.md"), lines);
    }

    private static double largestDifference(float[] actual, float[] expected) {
        assertThat(actual).hasSameSizeAs(expected);
        return IntStream.range(0, actual.length)
                .mapToDouble(i -> Math.abs(actual[i] - expected[i]))
                .max()
                .orElseThrow();
    }

    private static double relative(float[] actual, float[] expected) {
        double largest = IntStream.range(0, expected.length)
                .mapToDouble(i -> Math.abs(expected[i]))
                .max()
                .orElseThrow();
        return largestDifference(actual, expected) / largest;
    }
}
