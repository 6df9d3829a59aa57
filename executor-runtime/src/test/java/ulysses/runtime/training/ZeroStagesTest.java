package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.collective.Collectives.Operation;
import ulysses.runtime.collective.ProcessGroups;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.config.StrategyConfig;
import ulysses.runtime.config.StrategyConfig.Strategy;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.training.TrainingRank.How;
import ulysses.runtime.weights.LoraSpec;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterBlock;
import ulysses.runtime.weights.ParameterPlan;
import ulysses.runtime.weights.TunedModel;

/**
 * ZeRO's stages over all ranks give what one rank gives that holds everything: loss, gradients, norm, weights. They move the bytes of
 * their formula and hold the bytes of theirs.
 */
final class ZeroStagesTest {

    private static final int STEPS = 3;
    private static final int ACCUMULATION = 2;
    private static final List<PackedRow> ROWS = SmallModels.rows(61, 12, 20);
    private static final Map<String, Outcome> ALONE = new LinkedHashMap<>();
    private static final List<String> TABLE = new ArrayList<>();

    /** What is compared; gradients and weights of a rank are its pieces until {@link #joined}. */
    private record Outcome(
            List<Double> losses, List<Double> norms, Map<String, double[]> gradients, Map<String, double[]> weights) {}

    @ParameterizedTest(name = "{3}: stage {0}, P {1}, DP {2}")
    @CsvSource({
        "1,1,2,full", "1,2,1,full", "1,2,2,full", "2,1,2,full", "2,2,1,full", "2,2,2,full", "3,1,2,full", "3,2,1,full",
        "3,2,2,full", "1,2,1,tied", "2,2,2,tied", "3,1,2,tied", "3,2,2,lora", "2,2,1,lora", "3,2,1,freeze", "3,1,3,full"
    })
    void anyStageGivesWhatOneRankGives(int stage, int p, int dp, String type) {
        Outcome one = alone(type, How.PLAIN.withLimit(0.05));

        Outcome cut = cut(stage, new RankMesh(p * dp, p), tuned(type), How.PLAIN.withLimit(0.05));

        compare(one, cut, "%s | %d | %d | %d".formatted(type, stage, p, dp));
    }

    /** Noise, scaling and centring of what each rank owns, with thresholds at which all of them act. */
    @ParameterizedTest(name = "stage {0}")
    @CsvSource({"1,2,1", "2,1,3", "3,2,2"})
    void strategiesDoTheSameToSlices(int stage, int p, int dp) {
        StrategyConfig all = new StrategyConfig(List.of(Strategy.values()), 1, 1e-9, 5e-3, 1, 1.5, 1.2, 1, true);
        Outcome one = alone("full", How.PLAIN.with(all));

        Outcome cut = cut(stage, new RankMesh(p * dp, p), tuned("full"), How.PLAIN.with(all));

        compare(one, cut, "full, strategies | %d | %d | %d".formatted(stage, p, dp));
    }

    @ParameterizedTest(name = "stage {0}")
    @CsvSource({"1", "2", "3"})
    void keepsGraphsWhenNothingIsRecomputed(int stage) {
        Outcome one = alone("full", How.PLAIN);

        Outcome cut = cut(stage, new RankMesh(2, 2), tuned("full"), How.PLAIN.withoutCheckpointing());

        compare(one, cut, "full, no checkpointing | %d | 2 | 1".formatted(stage));
    }

    /** Off the device the same kernel works on the same numbers: not one bit differs. */
    @ParameterizedTest(name = "stage {0}, {1}")
    @CsvSource({"0,BFLOAT16", "1,FLOAT32", "3,BFLOAT16"})
    void offloadedStatesChangeNoBit(int stage, ComputeType compute) {
        RankMesh mesh = new RankMesh(2, 2);
        How how = How.PLAIN.with(compute).withLimit(0.05);

        Outcome held = cut(stage, mesh, tuned("full"), how);
        Outcome offloaded = cut(stage, mesh, tuned("full"), how.withOffloadedOptimizer());

        same(held, offloaded);
    }

    @ParameterizedTest(name = "stage {0}, {1}")
    @CsvSource({"0,BFLOAT16", "3,FLOAT32"})
    void offloadedActivationsChangeNoBit(int stage, ComputeType compute) {
        RankMesh mesh = new RankMesh(4, 2);
        How how = How.PLAIN.with(compute).withoutCheckpointing().withLimit(0.05);

        Outcome held = cut(stage, mesh, tuned("full"), how);
        Outcome offloaded = cut(stage, mesh, tuned("full"), how.withOffloadedActivations());

        same(held, offloaded);
    }

    private static void same(Outcome held, Outcome offloaded) {
        assertThat(offloaded.losses()).isEqualTo(held.losses());
        held.weights()
                .forEach((name, values) ->
                        assertThat(offloaded.weights().get(name)).as(name).isEqualTo(values));
    }

    private static Outcome alone(String type, How how) {
        return ALONE.computeIfAbsent(
                type + how,
                key -> joined(RankThreads.run(
                        new RankMesh(1, 1), groups -> run(tuned(type), how, new RankMesh(1, 1), groups))));
    }

    private static Outcome cut(int stage, RankMesh mesh, TunedModel tuned, How how) {
        return joined(RankThreads.run(mesh, groups -> run(tuned, how.withStage(stage), mesh, groups)));
    }

    private static void compare(Outcome one, Outcome cut, String setting) {
        double loss = 0;
        double norm = 0;
        for (int step = 0; step < STEPS; step++) {
            loss = Math.max(loss, Math.abs(cut.losses().get(step) / one.losses().get(step) - 1));
            norm = Math.max(norm, Math.abs(cut.norms().get(step) / one.norms().get(step) - 1));
        }
        double gradients = worst(cut.gradients(), one.gradients());
        double weights = TensorArrays.relative(all(cut.weights(), one), all(one.weights(), one));
        TABLE.add(String.format(
                Locale.ROOT, "| %s | %.1e | %.1e | %.1e | %.1e |", setting, loss, gradients, norm, weights));
        assertThat(loss).as("loss").isLessThan(1e-6);
        assertThat(gradients).as("every gradient").isLessThan(1e-5);
        assertThat(norm).as("gradient norm").isLessThan(1e-5);
        assertThat(weights).as("weights after %d steps", STEPS).isLessThan(1e-5);
    }

    /** One behind the other, in the order of {@code order}. */
    private static double[] all(Map<String, double[]> weights, Outcome order) {
        return order.weights().keySet().stream()
                .flatMapToDouble(name -> Arrays.stream(weights.getOrDefault(name, new double[0])))
                .toArray();
    }

    private static double worst(Map<String, double[]> actual, Map<String, double[]> expected) {
        assertThat(actual.keySet()).isEqualTo(expected.keySet());
        return expected.entrySet().stream()
                .mapToDouble(entry ->
                        TensorArrays.relative(actual.getOrDefault(entry.getKey(), new double[0]), entry.getValue()))
                .max()
                .orElseThrow();
    }

    private static Outcome run(TunedModel tuned, How how, RankMesh mesh, ProcessGroups groups) {
        List<Double> losses = new ArrayList<>();
        List<Double> norms = new ArrayList<>();
        Map<String, double[]> gradients = new LinkedHashMap<>();
        try (TrainingRank rank = TrainingRank.of(tuned, how, groups)) {
            for (int step = 0; step < STEPS; step++) {
                StepMetrics metrics = rank.step(batches(mesh, groups), 1e-3);
                losses.add(metrics.loss());
                norms.add(metrics.gradNorm());
                if (step == 0) {
                    gradients.putAll(pieces(rank.parameters(), Parameters.Share::gradients));
                }
            }
            return new Outcome(losses, norms, gradients, pieces(rank.parameters(), Parameters.Share::master));
        }
    }

    private static StepBatches batches(RankMesh mesh, ProcessGroups groups) {
        return TrainingRank.batches(ROWS, mesh, groups.world().rank(), ACCUMULATION);
    }

    /** What this rank owns, by parameter and first element. */
    private static Map<String, double[]> pieces(Parameters parameters, Function<Parameters.Share, Tensor> state) {
        Map<String, double[]> pieces = new LinkedHashMap<>();
        for (Parameters.Share share : parameters.shares()) {
            for (ParameterBlock.Piece piece :
                    share.block().pieces(parameters.sharding().rank())) {
                try (TensorScope scope = TensorScope.open()) {
                    Tensor values = state.apply(share).narrow(0, piece.offset(), piece.elements());
                    pieces.put(piece.place().parameter().name() + "@" + piece.first(), TensorArrays.values(values));
                }
            }
        }
        return pieces;
    }

    private static Outcome joined(List<Outcome> ranks) {
        for (Outcome rank : ranks) {
            assertThat(rank.losses())
                    .as("loss is the same on all ranks")
                    .isEqualTo(ranks.get(0).losses());
            assertThat(rank.norms())
                    .as("norm is the same on all ranks")
                    .isEqualTo(ranks.get(0).norms());
        }
        return new Outcome(
                ranks.get(0).losses(),
                ranks.get(0).norms(),
                joined(ranks, Outcome::gradients),
                joined(ranks, Outcome::weights));
    }

    private static Map<String, double[]> joined(List<Outcome> ranks, Function<Outcome, Map<String, double[]>> state) {
        Map<String, List<Map.Entry<Long, double[]>>> pieces = new LinkedHashMap<>();
        for (Outcome rank : ranks) {
            state.apply(rank).forEach((name, values) -> {
                int at = name.lastIndexOf('@');
                pieces.computeIfAbsent(name.substring(0, at), key -> new ArrayList<>())
                        .add(Map.entry(Long.parseLong(name.substring(at + 1)), values));
            });
        }
        Map<String, double[]> whole = new LinkedHashMap<>();
        pieces.forEach((name, parts) -> whole.put(
                name,
                parts.stream()
                        .sorted(Map.Entry.comparingByKey())
                        .flatMapToDouble(part -> Arrays.stream(part.getValue()))
                        .toArray()));
        return whole;
    }

    private static ModelSpec spec(boolean tied) {
        return SmallModels.spec("qwen2", 4, 2, ", \"tie_word_embeddings\": " + tied);
    }

    private static TunedModel tuned(String type) {
        return switch (type) {
            case "tied" -> TunedModel.full(spec(true));
            case "lora" -> lora();
            case "freeze" ->
                new TunedModel(
                        spec(false),
                        ParameterPlan.partly(spec(false), name -> name.contains(".1.") || name.contains("lm_head")),
                        Optional.empty(),
                        Optional.empty(),
                        List.of());
            default -> TunedModel.full(spec(false));
        };
    }

    private static TunedModel lora() {
        ModelSpec spec = spec(true);
        LoraSpec lora = new LoraSpec(3, 8, 0.2, false, LoraSpec.allLinear(spec), List.of("embed_tokens", "model.norm"));
        ParameterPlan plan = ParameterPlan.adapter(spec, lora)
                .withRates(Map.of(LoraSpec.lowRankB("model.layers.0.self_attn.q_proj"), 16.0));
        return new TunedModel(spec, plan, Optional.of(lora), Optional.empty(), List.of());
    }

    /**
     * Bytes that leave a rank in a step of one micro-batch more than none, with E elements of all blocks, filled up to the ranks R, and w
     * bytes of a weight: reduce-scatter 4 E (R-1)/R, at stages 2 and 3 for each micro-batch; all-gather w E (R-1)/R, at stage 3 instead
     * of once a step for each micro-batch embedding and head once, layers and final norm twice.
     */
    @ParameterizedTest(name = "stage {0}, P {1}, DP {2}, {3}")
    @CsvSource({"1,2,1,FLOAT32", "2,1,2,FLOAT32", "3,2,2,FLOAT32", "1,2,2,BFLOAT16", "2,2,1,BFLOAT16", "3,1,2,BFLOAT16"
    })
    void movesTheBytesOfItsFormula(int stage, int p, int dp, ComputeType compute) {
        RankMesh mesh = new RankMesh(p * dp, p);
        int ranks = mesh.worldSize();
        int width = compute == ComputeType.FLOAT32 ? 4 : 2;
        List<ParameterBlock> blocks = ParameterBlock.trained(tuned("full").plan(), ranks);
        long all = blocks.stream().mapToLong(ParameterBlock::elements).sum();
        long once = blocks.stream()
                .filter(block -> block.part().equals("model.embed_tokens")
                        || block.part().equals("lm_head"))
                .mapToLong(ParameterBlock::elements)
                .sum();
        int sums = stage == 1 ? 1 : ACCUMULATION;
        long scattered = 4L * sums * all * (ranks - 1) / ranks;
        long gatheredElements = stage == 3 ? ACCUMULATION * (2 * all - once) : all;
        long gathered = width * gatheredElements * (ranks - 1) / ranks;

        RankThreads.forEachRank(mesh, groups -> {
            try (TrainingRank rank =
                    TrainingRank.of(tuned("full"), How.PLAIN.with(compute).withStage(stage), groups)) {
                long[] before = sent(groups);
                rank.step(batches(mesh, groups), 1e-3);
                long[] after = sent(groups);

                assertThat(after[0] - before[0]).as("reduce-scatter").isEqualTo(scattered);
                assertThat(after[1] - before[1]).as("all-gather").isEqualTo(gathered);
                assertThat(after[2] - before[2])
                        .as("all-reduce of loss and norm")
                        .isLessThan(200);
            }
        });
    }

    private static long[] sent(ProcessGroups groups) {
        return new long[] {
            groups.world().bytesSent(Operation.REDUCE_SCATTER),
            groups.world().bytesSent(Operation.ALL_GATHER),
            groups.world().bytesSent(Operation.ALL_REDUCE)
        };
    }

    /**
     * Bytes that a rank holds for the run, with E elements over R ranks, w bytes of a weight and, in bfloat16, 4 of a master weight:
     * states (8 + master) E / R from stage 1 on, gradients 4 E / R from stage 2 on, weights w E / R at stage 3; E where they are whole.
     */
    @ParameterizedTest(name = "stage {0}, {1} ranks, {2}")
    @CsvSource({
        "0,2,FLOAT32",
        "1,2,FLOAT32",
        "2,2,FLOAT32",
        "3,2,FLOAT32",
        "0,4,BFLOAT16",
        "1,4,BFLOAT16",
        "2,4,BFLOAT16",
        "3,4,BFLOAT16"
    })
    void holdsTheBytesOfItsFormula(int stage, int ranks, ComputeType compute) {
        RankMesh mesh = new RankMesh(ranks, 1);
        int shared = stage == 0 ? 1 : ranks;
        boolean narrow = compute == ComputeType.BFLOAT16;
        long all = ParameterBlock.trained(tuned("full").plan(), shared).stream()
                .mapToLong(ParameterBlock::elements)
                .sum();
        long weights = (narrow ? 2 : 4) * all / (stage >= 3 ? ranks : 1);
        long gradients = 4 * all / (stage >= 2 ? ranks : 1);
        long states = (narrow ? 12 : 8) * all / (stage >= 1 ? ranks : 1);

        RankThreads.forEachRank(mesh, groups -> {
            try (TrainingRank rank =
                    TrainingRank.of(tuned("full"), How.PLAIN.with(compute).withStage(stage), groups)) {
                Parameters parameters = rank.parameters();
                long masters = narrow
                        ? parameters.shares().stream()
                                .mapToLong(share -> share.master().nbytes())
                                .sum()
                        : 0;
                assertThat(parameters.weights().nbytes()).as("weights").isEqualTo(weights);
                assertThat(parameters.gradients().nbytes()).as("gradients").isEqualTo(gradients);
                assertThat(masters
                                + rank.optimizer().firstMoment().nbytes()
                                + rank.optimizer().secondMoment().nbytes())
                        .as("optimizer states")
                        .isEqualTo(states);
            }
        });
        assertThat(all).isCloseTo(tuned("full").plan().trainedElements(), within(1000L));
    }

    /** The table of executor-runtime/README.md. */
    @AfterAll
    static void writeTable() throws IOException {
        List<String> lines = new ArrayList<>(List.of(
                "| what is trained | stage | P | DP | loss | gradients | norm | weights after 3 steps |",
                "|--|--|--|--|--|--|--|--|"));
        lines.addAll(TABLE);
        Files.createDirectories(Path.of("target"));
        Files.write(Path.of("target", "zero-stages.md"), lines);
    }
}
