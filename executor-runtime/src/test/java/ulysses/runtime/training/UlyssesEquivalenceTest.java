package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.model.CausalLm;
import ulysses.runtime.model.InitialWeights;
import ulysses.runtime.model.ParameterSharing;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.model.TinyModel;
import ulysses.runtime.objective.NextToken;
import ulysses.runtime.optimizer.AdamW;
import ulysses.runtime.weights.LoraSpec;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterPlan;
import ulysses.runtime.weights.TunedModel;

/**
 * Any sequence-parallel size, data-parallel size and accumulation give what one rank gives: loss, gradient norm, every gradient of the
 * first step, and weights after three steps. Rows have very uneven labels: one has none, and one all of them at its end, so that
 * some ranks have no label at all.
 */
final class UlyssesEquivalenceTest {

    private static final int ROWS = 12;
    private static final int STEPS = 3;
    private static final List<String> TABLE = new ArrayList<>();

    /** What is compared, taken on rank 0. */
    @SuppressWarnings("ArrayRecordComponent") // a carrier, compared element by element
    private record Outcome(List<Double> losses, List<Double> norms, List<float[]> gradients, float[] weights) {}

    @ParameterizedTest(name = "heads {0}/{1}, P {2}, DP {3}, accumulation {4}")
    @CsvSource({
        "8,2,2,1,1", "8,2,4,1,1", "8,2,1,2,1", "8,2,2,2,1", "8,2,1,1,3", "8,2,2,1,3", "8,2,2,2,3", "8,2,4,2,3",
        "8,8,2,1,1", "8,8,4,1,3", "8,1,2,2,1", "8,1,4,1,1", "6,2,2,1,3", "6,2,3,1,1", "14,2,2,1,1", "28,4,4,1,1",
        "7,1,2,1,1", "6,2,4,1,1", "14,2,4,1,1"
    })
    void anyLayoutGivesWhatOneRankGives(int heads, int kvHeads, int p, int dp, int accumulation) throws IOException {
        TunedModel spec = TunedModel.full(spec(heads, kvHeads));
        List<PackedRow> rows = rows();
        Outcome one = run(spec, rows, new RankMesh(1, 1), 1, new SingleRank("one"), new SingleRank("one"), 0);

        RankMesh mesh = new RankMesh(p * dp, p);
        List<Outcome> ranks = RankThreads.run(
                mesh,
                groups -> run(
                        spec,
                        rows,
                        mesh,
                        accumulation,
                        groups.sequenceParallel(),
                        groups.world(),
                        groups.world().rank()));

        for (Outcome rank : ranks) {
            assertThat(rank.weights())
                    .as("weights are the same on all ranks")
                    .isEqualTo(ranks.get(0).weights());
        }
        compare(one, ranks.get(0), "(%d,%d) | %d | %d | %d".formatted(heads, kvHeads, p, dp, accumulation));
    }

    /** The same of an adapter with dropout, which must drop the same whatever the ranks: LoRA+ and a copy of the head beside it. */
    @ParameterizedTest(name = "LoRA, P {0}, DP {1}, accumulation {2}")
    @CsvSource({"2,1,1", "4,1,1", "1,2,1", "1,1,3", "2,2,3", "4,2,1"})
    void anyLayoutGivesWhatOneRankGivesOfAnAdapter(int p, int dp, int accumulation) throws IOException {
        ModelSpec spec = spec(8, 2);
        LoraSpec lora = new LoraSpec(4, 8, 0.2, false, LoraSpec.allLinear(spec), List.of("lm_head", "model.norm"));
        TunedModel tuned = new TunedModel(
                spec,
                ParameterPlan.adapter(spec, lora)
                        .withRates(Map.of(LoraSpec.lowRankB("model.layers.0.self_attn.q_proj"), 16.0)),
                Optional.of(lora),
                Optional.empty(),
                List.of());
        List<PackedRow> rows = rows();
        Outcome one = run(tuned, rows, new RankMesh(1, 1), 1, new SingleRank("one"), new SingleRank("one"), 0);

        RankMesh mesh = new RankMesh(p * dp, p);
        List<Outcome> ranks = RankThreads.run(
                mesh,
                groups -> run(
                        tuned,
                        rows,
                        mesh,
                        accumulation,
                        groups.sequenceParallel(),
                        groups.world(),
                        groups.world().rank()));

        compare(one, ranks.get(0), "(8,2), LoRA | %d | %d | %d".formatted(p, dp, accumulation));
    }

    private static void compare(Outcome one, Outcome many, String setting) {
        double loss = 0;
        double norm = 0;
        for (int step = 0; step < STEPS; step++) {
            loss = Math.max(
                    loss, Math.abs(many.losses().get(step) / one.losses().get(step) - 1));
            norm = Math.max(norm, Math.abs(many.norms().get(step) / one.norms().get(step) - 1));
        }
        double gradient = 0;
        for (int i = 0; i < one.gradients().size(); i++) {
            gradient = Math.max(
                    gradient, relative(many.gradients().get(i), one.gradients().get(i)));
        }
        double weights = relative(many.weights(), one.weights());
        TABLE.add(String.format(
                Locale.ROOT, "| %s | %.1e | %.1e | %.1e | %.1e |", setting, loss, gradient, norm, weights));
        assertThat(loss).as("loss").isLessThan(1e-6);
        assertThat(gradient).as("every gradient").isLessThan(1e-5);
        assertThat(norm).as("gradient norm").isLessThan(1e-5);
        assertThat(weights).as("weights after %d steps", STEPS).isLessThan(1e-5);
    }

    private static Outcome run(
            TunedModel tuned,
            List<PackedRow> rows,
            RankMesh mesh,
            int accumulation,
            Collectives group,
            Collectives world,
            int rank) {
        StepConfig config = new StepConfig(
                1, accumulation, 1e-3, 1, STEPS, "constant", Map.of(), 0, 0, 0.1, 0.9, 0.999, 1e-8, 1.0, 7, 7, false);
        List<Double> losses = new ArrayList<>();
        List<Double> norms = new ArrayList<>();
        List<float[]> gradients = new ArrayList<>();
        try (Parameters parameters = new Parameters(tuned.plan(), ComputeType.FLOAT32, new Device("cpu"));
                AdamW optimizer = new AdamW(parameters, config)) {
            InitialWeights weights = new InitialWeights(tuned.spec(), parameters);
            weights.draw(7);
            tuned.adapter().ifPresent(lora -> drawAdapter(weights, lora, parameters));
            CausalLm model = new CausalLm(
                    tuned.spec(),
                    parameters,
                    tuned.adapter().map(lora -> new CausalLm.Adapter(lora, 7)),
                    new CausalLm.Layers(ParallelConfig.Device.CPU, ActivationMemory.ATTENTION),
                    group);
            SequenceStep sequence = new SequenceStep(model, new NextToken(model.head()), group);
            TrainStep step = new TrainStep(sequence, new ParameterSharing(parameters, world), optimizer, 0);
            for (int s = 0; s < STEPS; s++) {
                StepMetrics metrics = step.run(batches(rows, mesh, mesh.dataParallelRank(rank), accumulation), 1e-3);
                losses.add(metrics.loss());
                norms.add(metrics.gradNorm());
                if (s == 0) {
                    parameters.trained().forEach(p -> gradients.add(TinyModel.floats(p.gradient())));
                }
            }
            return new Outcome(losses, norms, gradients, TinyModel.floats(parameters.master()));
        }
    }

    /** With noise on all of it, so that B is not 0. */
    private static void drawAdapter(InitialWeights weights, LoraSpec lora, Parameters parameters) {
        weights.drawAdapter(lora, 7);
        try (TensorScope scope = TensorScope.open()) {
            Tensor noise =
                    TensorArrays.gaussian(new Random(9), parameters.elements()).to(torch.ScalarType.Float);
            parameters.master().add_(noise.mul_(new Scalar(0.1)));
        }
    }

    private static StepBatches batches(List<PackedRow> rows, RankMesh mesh, int group, int accumulation) {
        int rowsPerMicroBatch = rows.size() / (mesh.dataParallelSize() * accumulation);
        List<MicroBatch> batches = new ArrayList<>();
        for (int m = 0; m < accumulation; m++) {
            int first = (m * mesh.dataParallelSize() + group) * rowsPerMicroBatch;
            batches.add(
                    MicroBatch.of(rows.subList(first, first + rowsPerMicroBatch), mesh.sequenceParallelSize(), first));
        }
        long trained = rows.stream().mapToLong(PackedRow::trainedTokens).sum();
        long tokens = rows.stream().mapToLong(PackedRow::tokens).sum();
        return new StepBatches(batches, trained, tokens, 0, rows.size(), false);
    }

    /** Twelve packed rows of 20 to 60 tokens in one to four documents; labels are rare but in the last quarter of a row. */
    private static List<PackedRow> rows() {
        Random random = new Random(20261124);
        List<PackedRow> rows = new ArrayList<>();
        for (int r = 0; r < ROWS; r++) {
            int[] documents = random.ints(1 + random.nextInt(4), 1, 21).toArray();
            int length = Arrays.stream(documents).sum();
            int[] ids = random.ints(length, 0, 96).toArray();
            int[] labels = new int[length];
            for (int t = 0; t < length; t++) {
                boolean counts = r != 3 && (r % 4 == 1 ? t >= length * 3 / 4 : random.nextInt(3) == 0);
                labels[t] = counts ? ids[t] : PackedRow.IGNORE_INDEX;
            }
            rows.add(new PackedRow(ids, labels, documents));
        }
        return rows;
    }

    private static ModelSpec spec(int heads, int kvHeads) {
        return ModelSpec.parse("""
                {"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                 "num_attention_heads": %d, "num_key_value_heads": %d, "head_dim": 8, "vocab_size": 96, "hidden_act": "silu",
                 "rms_norm_eps": 1e-5, "max_position_embeddings": 128, "rope_theta": 10000.0, "initializer_range": 0.2,
                 "tie_word_embeddings": false, "architectures": ["LlamaForCausalLM"]}
                """.formatted(heads, kvHeads), "test");
    }

    private static double relative(float[] actual, float[] expected) {
        double difference = 0;
        double size = 0;
        for (int i = 0; i < expected.length; i++) {
            difference += Math.pow(actual[i] - expected[i], 2);
            size += Math.pow(expected[i], 2);
        }
        return size == 0 ? Math.sqrt(difference) : Math.sqrt(difference / size);
    }

    /** The table of executor-runtime/README.md. */
    @AfterAll
    static void writeTable() throws IOException {
        List<String> lines = new ArrayList<>(List.of(
                "| (heads, kv heads) | P | DP | accumulation | loss | gradients | norm | weights after 3 steps |",
                "|--|--|--|--|--|--|--|--|"));
        lines.addAll(TABLE);
        Files.write(Path.of("target", "ulysses-equivalence.md"), lines);
    }
}
