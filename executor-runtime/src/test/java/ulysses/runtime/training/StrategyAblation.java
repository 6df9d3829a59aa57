package ulysses.runtime.training;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import org.bytedeco.pytorch.Device;
import org.junit.jupiter.api.Test;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.config.StrategyConfig;
import ulysses.runtime.config.StrategyConfig.Strategy;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.gradient.GradientStrategies;
import ulysses.runtime.memory.NativeRuntime;
import ulysses.runtime.model.CausalLm;
import ulysses.runtime.model.InitialWeights;
import ulysses.runtime.model.ParameterSharing;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.objective.NextToken;
import ulysses.runtime.optimizer.AdamW;
import ulysses.runtime.weights.ModelSpec;

/**
 * What each gradient strategy does to a small model, at the original project's constants: loss on text it has not seen, three seeds.
 * No test: it takes minutes and its table is for executor-runtime/README.md. Run: {@code mvn -pl executor-runtime test
 * -Dtest=StrategyAblation}, with {@code -Dablation.vocabulary=32} for harder text; the table is in target/strategy-ablation.md.
 */
final class StrategyAblation {
    private static final int VOCABULARY = Integer.getInteger("ablation.vocabulary", 16);
    private static final int STEPS = 700;
    private static final int ROWS = 8;
    private static final int LENGTH = 64;
    private static final int EVALUATION_ROWS = 128;
    private static final double RATE = 2e-3;
    private static final double LIMIT = 1;
    private static final List<Long> SEEDS = List.of(1L, 2L, 3L);

    private static final ModelSpec SPEC = ModelSpec.parse("""
            {"model_type": "llama", "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": %d, "hidden_act": "silu",
             "rms_norm_eps": 1e-5, "max_position_embeddings": 128, "rope_theta": 10000.0, "initializer_range": 0.02}
            """.formatted(VOCABULARY), "ablation");

    /** Loss at the end, and the share of steps in which any strategy acted. */
    private record Run(double loss, double share, double meanAbs) {}

    @Test
    void table() throws IOException {
        NativeRuntime.start(1);
        Map<String, List<Strategy>> settings = new LinkedHashMap<>();
        settings.put("off", List.of());
        for (Strategy strategy : Strategy.values()) {
            settings.put(strategy.name().toLowerCase(Locale.ROOT), List.of(strategy));
        }
        settings.put("all five (original)", List.of(Strategy.values()));
        List<String> lines = new ArrayList<>(List.of(
                "| strategies | seed 1 | seed 2 | seed 3 | steps in which they acted | mean abs(g), last step |",
                "|--|--|--|--|--|--|"));
        settings.forEach((name, strategies) -> {
            List<Run> runs = SEEDS.stream().map(seed -> run(seed, strategies)).toList();
            lines.add(String.format(
                    Locale.ROOT,
                    "| %s | %.3f | %.3f | %.3f | %.1f %% | %.1e |",
                    name,
                    runs.get(0).loss(),
                    runs.get(1).loss(),
                    runs.get(2).loss(),
                    100 * runs.stream().mapToDouble(Run::share).average().orElse(0),
                    runs.stream().mapToDouble(Run::meanAbs).average().orElse(0)));
        });
        Files.write(Path.of("target", "strategy-ablation.md"), lines);
    }

    private static Run run(long seed, List<Strategy> on) {
        StrategyConfig strategies = StrategyConfig.NONE.with(on);
        StepConfig config = new StepConfig(
                ROWS, 1, RATE, 1, STEPS, "linear", Map.of(), 0, 0, 0, 0.9, 0.999, 1e-8, LIMIT, seed, seed, false);
        try (Parameters parameters = new Parameters(SPEC, ComputeType.FLOAT32, new Device("cpu"));
                AdamW optimizer = new AdamW(parameters, config)) {
            new InitialWeights(SPEC, parameters).draw(seed);
            SingleRank alone = new SingleRank("one");
            CausalLm model = new CausalLm(
                    SPEC, parameters, new CausalLm.Layers(ParallelConfig.Device.CPU, ActivationMemory.FULL), alone);
            SequenceStep sequence = new SequenceStep(model, new NextToken(model.head()), alone);
            TrainStep step = new TrainStep(
                    sequence,
                    new ParameterSharing(parameters, alone),
                    optimizer,
                    LIMIT,
                    new GradientStrategies(strategies, seed));
            Random text = new Random(1000 + seed);
            long acted = 0;
            double meanAbs = 0;
            for (int s = 0; s < STEPS; s++) {
                StepMetrics metrics = step.run(batches(rows(text, ROWS)), RATE * (STEPS - s) / STEPS);
                acted += metrics.strategies().fired().isEmpty() ? 0 : 1;
                meanAbs = metrics.strategies().meanAbs();
            }
            List<PackedRow> unseen = rows(new Random(99), EVALUATION_ROWS);
            long trained = unseen.stream().mapToLong(PackedRow::trainedTokens).sum();
            return new Run(sequence.sums(MicroBatch.of(unseen, 1)).loss() / trained, acted / (double) STEPS, meanAbs);
        }
    }

    private static StepBatches batches(List<PackedRow> rows) {
        long trained = rows.stream().mapToLong(PackedRow::trainedTokens).sum();
        return new StepBatches(
                List.of(MicroBatch.of(rows, 1)), trained, (long) rows.size() * LENGTH, rows.size(), rows.size(), false);
    }

    /** Text of a Markov chain of order 2: after each pair of tokens four can follow, one of them most of the time. */
    private static List<PackedRow> rows(Random text, int count) {
        int[] followers =
                new Random(5).ints(4L * VOCABULARY * VOCABULARY, 0, VOCABULARY).toArray();
        List<PackedRow> rows = new ArrayList<>();
        for (int r = 0; r < count; r++) {
            int[] ids = new int[LENGTH];
            ids[0] = text.nextInt(VOCABULARY);
            ids[1] = text.nextInt(VOCABULARY);
            for (int t = 2; t < LENGTH; t++) {
                int choice = text.nextInt(10);
                int which = choice < 6 ? 0 : choice - 6;
                ids[t] = followers[(ids[t - 2] * VOCABULARY + ids[t - 1]) * 4 + which];
            }
            rows.add(new PackedRow(ids, Arrays.copyOf(ids, LENGTH), new int[] {LENGTH}));
        }
        return rows;
    }
}
