package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.config.PreferenceConfig;
import ulysses.runtime.config.PreferenceConfig.Loss;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.model.ParameterSharing;
import ulysses.runtime.model.TinyModel;
import ulysses.runtime.objective.Preference;
import ulysses.runtime.objective.Reference;
import ulysses.runtime.objective.ReferenceModel;
import ulysses.runtime.optimizer.AdamW;
import ulysses.runtime.segment.Parameter;

/**
 * Every preference loss against what TRL and LLaMA-Factory computed on four pairs (float32, CPU), and any layout of ranks against one
 * rank. The pairs are uneven: answers of 5 to 84 tokens behind prompts of 4 to 60. With one pair a micro-batch on four ranks, some
 * ranks hold nothing but a prompt.
 */
final class PreferenceParityTest {

    private static final int LENGTH = 96;

    // SUMS: the recorded loss comes from float32 sums of log-probabilities near -527, whose last bit is 6e-5: through
    // beta = 0.1 that
    // is 1.5e-6 of a loss near 0.8. Means lie near 6.

    /** Loss and layout to column to the largest difference seen. */
    private static final Map<String, Map<String, Double>> TABLE = new TreeMap<>();

    private static final Map<String, Outcome> ALONE = new ConcurrentHashMap<>();

    /** What is compared, taken on rank 0. */
    private record Outcome(StepMetrics metrics, Map<String, float[]> gradients) {}

    @ParameterizedTest(name = "{0}, {1}: P {2}, DP {3}, accumulation {4}")
    @CsvSource({
        "tiny-llama, 1, 1, 1", "tiny-llama, 1, 1, 4", "tiny-llama, 2, 1, 1", "tiny-llama, 4, 1, 1",
        "tiny-llama, 4, 1, 4", "tiny-llama, 1, 2, 2", "tiny-llama, 2, 2, 1", "tiny-llama, 4, 2, 2",
        "tiny-qwen2, 1, 1, 1", "tiny-qwen2, 2, 1, 2", "tiny-qwen2, 4, 1, 4"
    })
    void givesRecordedLossGradientsAndMetrics(String model, int p, int dp, int accumulation) {
        for (String variant :
                List.of("sigmoid", "sigmoid_label_smoothing", "sigmoid_ftx", "hinge", "ipo", "orpo", "simpo")) {
            Outcome one = ALONE.computeIfAbsent(
                    model + variant,
                    key -> run(model, variant, new RankMesh(1, 1), 1, new SingleRank("one"), new SingleRank("one")));
            RankMesh mesh = new RankMesh(p * dp, p);

            Outcome many = RankThreads.run(
                            mesh,
                            groups ->
                                    run(model, variant, mesh, accumulation, groups.sequenceParallel(), groups.world()))
                    .get(0);

            compareWithRecording(model, variant, p, many);
            compareWithOneRank(variant, p, one, many);
        }
    }

    private static void compareWithRecording(String model, String variant, int p, Outcome outcome) {
        try (TinyModel tiny = new TinyModel(model, new SingleRank("read"), true)) {
            JsonNode expected = tiny.json("dpo").get("variants").get(variant);
            double[] pairs = doubles(expected.get("losses_f64"));
            double loss = Arrays.stream(pairs).average().orElseThrow();
            assertThat(noted(variant, p, "loss", Math.abs(outcome.metrics().loss() / loss - 1)))
                    .as("%s loss", variant)
                    .isLessThan(isOfSums(variant) ? 5e-6 : 1e-6); // see SUMS
            assertThat(outcome.metrics().gradNorm())
                    .isCloseTo(
                            expected.get("grad_norm").asDouble(),
                            within(1e-4 * expected.get("grad_norm").asDouble()));
            outcome.gradients().forEach((name, gradient) -> {
                float[] recorded = tiny.floats("dpo", "gradients-" + variant + ".safetensors", "grad." + name);
                assertThat(noted(variant, p, "gradients", relative(gradient, recorded)))
                        .as("%s gradient of %s", variant, name)
                        .isLessThan(1e-4);
            });
            expected.get("metrics").properties().forEach(metric -> {
                if (!metric.getKey().startsWith("logits/")) { // recorded over padding, too
                    double recorded = metric.getValue().asDouble();
                    assertThat(outcome.metrics().metrics().get(metric.getKey()))
                            .as("%s %s", variant, metric.getKey())
                            .isCloseTo(recorded, within(3e-5 + 1e-6 * Math.abs(recorded)));
                }
            });
            assertThat(outcome.metrics().metrics())
                    .hasSize(expected.get("metrics").size());
        }
    }

    private static void compareWithOneRank(String variant, int p, Outcome one, Outcome many) {
        double loss = Math.abs(many.metrics().loss() / one.metrics().loss() - 1);
        assertThat(noted(variant, p, "loss to one rank", loss)).isLessThan(1e-6);
        one.gradients().forEach((name, gradient) -> {
            double difference = relative(Objects.requireNonNull(many.gradients().get(name)), gradient);
            assertThat(noted(variant, p, "gradients to one rank", difference))
                    .as("%s gradient of %s", variant, name)
                    .isLessThan(1e-5);
        });
        one.metrics()
                .metrics()
                .forEach((name, value) -> assertThat(many.metrics().metrics().get(name))
                        .as(name)
                        .isCloseTo(value, within(1e-6 + 1e-5 * Math.abs(value))));
    }

    /** Ten steps of an adapter whose reference is the model without it, against PEFT and LLaMA-Factory. */
    @ParameterizedTest(name = "{0}, P {1}, stage {2}")
    @CsvSource({"tiny-llama, 2, 0", "tiny-qwen2, 1, 0", "tiny-llama, 2, 3"})
    void givesTheCurveOfAnAdapter(String model, int p, int stage) {
        StepConfig config =
                new StepConfig(4, 1, 5e-4, 1, 10, "constant", Map.of(), 0, 0, 0, 0.9, 0.95, 1e-8, 1.0, 42, 42, false);
        PreferenceConfig preference = new PreferenceConfig(Loss.SIGMOID, 0.1, 0, 0, 0.5, null, null, false);
        RankThreads.forEachRank(p, groups -> {
            Collectives group = groups.sequenceParallel();
            try (TinyModel policy = TinyModel.withAdapter(model, "dpo-curve", group, true, groups.world(), stage);
                    AdamW optimizer = new AdamW(policy.parameters(), config)) {
                Reference reference = new ReferenceModel(policy.model().withoutAdapters(), group);
                Preference objective = new Preference(preference, policy.model().head(), Optional.of(reference), group);
                SequenceStep sequence = new SequenceStep(policy.model(), objective, group);
                TrainStep step = new TrainStep(sequence, policy.sharing(), optimizer, 1.0);
                for (int s = 0; s < 10; s++) {
                    StepMetrics metrics = step.run(
                            batches(pairs(policy, "dpo-curve", s), new RankMesh(p, p), 0, 1), config.learningRate());

                    JsonNode expected = policy.json("dpo-curve").get("steps").get(s);
                    assertThat(metrics.loss()).isCloseTo(expected.get("loss").asDouble(), within(2e-5));
                    double norm = expected.get("grad_norm").asDouble();
                    assertThat(metrics.gradNorm()).isCloseTo(norm, within(5e-5 * norm));
                    double margin =
                            expected.get("metrics").get("rewards/margins").asDouble();
                    assertThat(metrics.metrics().get("rewards/margins")).isCloseTo(margin, within(3e-5));
                }
                for (Parameter parameter :
                        stage == 3 ? List.<Parameter>of() : policy.parameters().trained()) {
                    float[] end =
                            policy.floats("dpo-curve/final_adapter", "adapter_model.safetensors", parameter.name());
                    assertThat(relative(TinyModel.floats(parameter.value()), end))
                            .as(parameter.name())
                            .isLessThan(1e-3);
                }
            }
        });
    }

    @ParameterizedTest
    @EnumSource(
            value = Loss.class,
            names = {"SIGMOID", "HINGE", "IPO"})
    void theFirstLossIsKnownWhenTheReferenceIsThePolicy(Loss loss) {
        double beta = 0.15;
        double expected = switch (loss) {
            case SIGMOID -> Math.log(2);
            case HINGE -> 1;
            case IPO -> 1 / (4 * beta * beta);
            case ORPO, SIMPO -> throw new AssertionError("these have no reference");
        };
        PreferenceConfig config = new PreferenceConfig(loss, beta, 0, 0, 0.5, null, null, false);

        RankThreads.forEachRank(2, groups -> {
            Collectives group = groups.sequenceParallel();
            try (TinyModel policy = new TinyModel("tiny-llama", group, true)) {
                Reference reference = new ReferenceModel(policy.model(), group);
                Preference objective = new Preference(config, policy.model().head(), Optional.of(reference), group);
                SequenceStep sequence = new SequenceStep(policy.model(), objective, group);
                StepBatches batches = batches(pairs(policy), new RankMesh(2, 2), 0, 2);

                double mean = batches.microBatches().stream()
                                .mapToDouble(batch -> sequence.sums(batch).loss())
                                .sum()
                        / sequence.terms(batches);

                assertThat(mean).isCloseTo(group.rank() == 0 ? expected : 0, within(1e-9));
            }
        });
    }

    /** {@code ld_alpha} against the formula written down once more, on one rank and on four. */
    @Test
    void tokensBeyondTheShorterAnswerWeighLess() {
        double alpha = 0.3;
        PreferenceConfig weighted = new PreferenceConfig(Loss.SIMPO, 0.1, 0, 0, 0.5, alpha, null, false);
        try (TinyModel tiny = new TinyModel("tiny-llama", new SingleRank("one"), true)) {
            double expected = 0;
            for (PackedRow pair : pairs(tiny)) {
                double[] answers = plainAverages(tiny, pair, alpha);
                expected += answers[0] / 4;
            }

            List<Double> four = RankThreads.run(4, groups -> {
                Collectives group = groups.sequenceParallel();
                try (TinyModel policy = new TinyModel("tiny-llama", group, true)) {
                    Preference objective =
                            new Preference(weighted, policy.model().head(), Optional.empty(), group);
                    StepMetrics metrics = step(policy, objective, new RankMesh(4, 4), 1, group, groups.world());
                    return Objects.requireNonNull(metrics.metrics().get("logps/chosen"));
                }
            });

            assertThat(four.get(0)).isCloseTo(expected, within(1e-5));
        }
    }

    /** Weighted log-probabilities of both answers over their trained tokens, from logits of all tokens. */
    private static double[] plainAverages(TinyModel tiny, PackedRow pair, double alpha) {
        MicroBatch batch = MicroBatch.of(List.of(pair), 1);
        float[] logits = tiny.hiddenAndLogits(batch.ids(), batch.positions(), batch.documentEnds())[1];
        int vocabulary = tiny.spec().vocabularySize();
        int[] trained = new int[2];
        for (int d = 0; d < 2; d++) {
            for (int t = batch.documentEnds()[d]; t < batch.documentEnds()[d + 1]; t++) {
                trained[d] += batch.targets()[t] == PackedRow.IGNORE_INDEX ? 0 : 1;
            }
        }
        double[] averages = new double[2];
        for (int d = 0; d < 2; d++) {
            int seen = 0;
            for (int t = batch.documentEnds()[d]; t < batch.documentEnds()[d + 1]; t++) {
                if (batch.targets()[t] != PackedRow.IGNORE_INDEX) {
                    double weight = seen++ < Math.min(trained[0], trained[1]) ? 1 : alpha;
                    averages[d] += weight * logProbability(logits, t * vocabulary, vocabulary, batch.targets()[t]);
                }
            }
            averages[d] /= trained[d];
        }
        return averages;
    }

    private static double logProbability(float[] logits, int from, int vocabulary, int target) {
        double sum = IntStream.range(from, from + vocabulary)
                .mapToDouble(i -> Math.exp(logits[i]))
                .sum();
        return logits[from + target] - Math.log(sum);
    }

    private static Outcome run(
            String model, String variant, RankMesh mesh, int accumulation, Collectives group, Collectives world) {
        try (TinyModel policy = new TinyModel(model, group, true);
                TinyModel start = new TinyModel(model + "-ref", group, true)) {
            PreferenceConfig config = config(variant);
            Optional<Reference> reference = config.loss().comparesWithReference()
                    ? Optional.of(new ReferenceModel(start.model(), group))
                    : Optional.empty();
            Preference objective = new Preference(config, policy.model().head(), reference, group);
            StepMetrics metrics = step(policy, objective, mesh, accumulation, group, world);
            Map<String, float[]> gradients = new LinkedHashMap<>();
            for (Parameter parameter : policy.parameters().all()) {
                gradients.put(parameter.name(), TinyModel.floats(parameter.gradient()));
            }
            return new Outcome(metrics, gradients);
        }
    }

    private static StepMetrics step(
            TinyModel policy,
            Preference objective,
            RankMesh mesh,
            int accumulation,
            Collectives group,
            Collectives world) {
        StepConfig still =
                new StepConfig(1, 1, 0, 1, 1, "constant", Map.of(), 0, 0, 0, 0.9, 0.999, 1e-8, 0, 7, 7, false);
        try (AdamW optimizer = new AdamW(policy.parameters(), still)) {
            SequenceStep sequence = new SequenceStep(policy.model(), objective, group);
            return new TrainStep(sequence, new ParameterSharing(policy.parameters(), world), optimizer, 0)
                    .run(batches(pairs(policy), mesh, mesh.dataParallelRank(world.rank()), accumulation), 0);
        }
    }

    private static boolean isOfSums(String variant) {
        return variant.startsWith("sigmoid") || variant.equals("hinge");
    }

    private static PreferenceConfig config(String variant) {
        return switch (variant) {
            case "sigmoid_label_smoothing" -> new PreferenceConfig(Loss.SIGMOID, 0.1, 0, 0.1, 0.5, null, null, false);
            case "sigmoid_ftx" -> new PreferenceConfig(Loss.SIGMOID, 0.1, 0.5, 0, 0.5, null, null, false);
            default ->
                new PreferenceConfig(Loss.valueOf(variant.toUpperCase(Locale.ROOT)), 0.1, 0, 0, 0.5, null, null, false);
        };
    }

    private static StepBatches batches(List<PackedRow> pairs, RankMesh mesh, int group, int accumulation) {
        int each = pairs.size() / (mesh.dataParallelSize() * accumulation);
        List<MicroBatch> batches = new ArrayList<>();
        for (int m = 0; m < accumulation; m++) {
            int first = (m * mesh.dataParallelSize() + group) * each;
            batches.add(MicroBatch.of(pairs.subList(first, first + each), mesh.sequenceParallelSize()));
        }
        return new StepBatches(batches, 0, 0, 2L * pairs.size(), pairs.size(), false);
    }

    /** One row a pair. */
    private static List<PackedRow> pairs(TinyModel tiny) {
        return pairs(tiny, "dpo", 0);
    }

    /** The four pairs of one step of a case. */
    private static List<PackedRow> pairs(TinyModel tiny, String caseName, int step) {
        List<PackedRow> pairs = new ArrayList<>();
        for (int pair = 4 * step; pair < 4 * step + 4; pair++) {
            int[] ids = new int[2 * LENGTH];
            int[] labels = new int[2 * LENGTH];
            int[] lengths = new int[2];
            int at = 0;
            for (String side : List.of("chosen", "rejected")) {
                int length = Arrays.stream(part(tiny, caseName, side + "_attention_mask", pair))
                        .sum();
                System.arraycopy(part(tiny, caseName, side + "_ids", pair), 0, ids, at, length);
                System.arraycopy(part(tiny, caseName, side + "_labels", pair), 0, labels, at, length);
                lengths[side.equals("chosen") ? 0 : 1] = length;
                at += length;
            }
            pairs.add(new PackedRow(Arrays.copyOf(ids, at), Arrays.copyOf(labels, at), lengths));
        }
        return pairs;
    }

    private static int[] part(TinyModel tiny, String caseName, String tensor, int pair) {
        int[] all = tiny.ints(caseName, "inputs.safetensors", tensor);
        return Arrays.copyOfRange(all, pair * LENGTH, (pair + 1) * LENGTH);
    }

    private static double[] doubles(JsonNode values) {
        double[] all = new double[values.size()];
        Arrays.setAll(all, i -> values.get(i).asDouble());
        return all;
    }

    /** {@code difference}, kept for the table if it is the largest of its cell. */
    private static double noted(String variant, int p, String column, double difference) {
        TABLE.computeIfAbsent("%s | %d".formatted(variant, p), name -> new TreeMap<>())
                .merge(column, difference, Math::max);
        return difference;
    }

    /** The table of executor-runtime/README.md. */
    @AfterAll
    static void writeTable() throws IOException {
        List<String> columns = List.of("loss", "gradients", "loss to one rank", "gradients to one rank");
        List<String> lines = new ArrayList<>();
        lines.add("| pref_loss | P | " + String.join(" | ", columns) + " |");
        lines.add("|--".repeat(columns.size() + 2) + "|");
        TABLE.forEach((row, cells) -> {
            List<String> numbers = columns.stream()
                    .map(column -> String.format(Locale.ROOT, "%.1e", cells.getOrDefault(column, Double.NaN)))
                    .toList();
            lines.add("| " + row + " | " + String.join(" | ", numbers) + " |");
        });
        Files.createDirectories(Path.of("target"));
        Files.write(Path.of("target", "preference-parity.md"), lines);
    }

    private static double relative(float[] actual, float[] expected) {
        assertThat(actual).hasSameSizeAs(expected);
        double difference = 0;
        double largest = 0;
        for (int i = 0; i < expected.length; i++) {
            difference = Math.max(difference, Math.abs(actual[i] - expected[i]));
            largest = Math.max(largest, Math.abs(expected[i]));
        }
        return largest == 0 ? difference : difference / largest;
    }
}
