package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.config.StrategyConfig;
import ulysses.runtime.config.StrategyConfig.Strategy;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.gradient.GradientStrategies;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.training.TrainingRank.How;
import ulysses.runtime.weights.ModelSpec;

/** Gradient strategies inside of training steps: layouts, the learning rate, and nothing where nothing is on. */
final class StrategyStepTest {
    private static final ModelSpec SPEC = SmallModels.llama();
    private static final List<PackedRow> ROWS = SmallModels.rows(21, 4, 20);
    private static final RankMesh ALONE = new RankMesh(1, 1);
    private static final int STEPS = 3;

    /** Thresholds at which everything acts on the gradients of a small model. */
    private static final StrategyConfig ALL =
            new StrategyConfig(List.of(Strategy.values()), 1, 1e-9, 5e-3, 1, 1.5, 1.2, 1, true);

    @ParameterizedTest(name = "{0} ranks, P = {1}, accumulation {2}")
    @CsvSource({"2,2,1", "2,1,2", "4,2,1"})
    void everyLayoutDoesTheSame(int ranks, int p, int accumulation) {
        How how = How.PLAIN.with(ALL).withLimit(2);
        double[] expected;
        try (TrainingRank alone = TrainingRank.alone(SPEC, how)) {
            for (int step = 0; step < STEPS; step++) {
                StepMetrics metrics = alone.step(TrainingRank.batches(ROWS, ALONE, 0, 1), 1e-3);
                assertThat(metrics.strategies().fired()).containsExactly(Strategy.values());
            }
            expected = TensorArrays.values(alone.parameters().master());
        }

        RankMesh mesh = new RankMesh(ranks, p);
        List<double[]> weights = RankThreads.run(mesh, groups -> {
            try (TrainingRank rank = TrainingRank.of(SPEC, how, groups)) {
                for (int step = 0; step < STEPS; step++) {
                    rank.step(TrainingRank.batches(ROWS, mesh, groups.world().rank(), accumulation), 1e-3);
                }
                return TensorArrays.values(rank.parameters().master());
            }
        });

        for (double[] of : weights) {
            assertThat(of).isEqualTo(weights.get(0));
            assertThat(TensorArrays.relative(of, expected)).isLessThan(1e-5);
        }
    }

    @Test
    void theLearningRateIsHigherForTheStepAloneAndNeverCompounds() {
        StrategyConfig always = new StrategyConfig(List.of(Strategy.LR), 1, 5, 0, 0, 1.5, 1.2, 1, true);
        StrategyConfig never = new StrategyConfig(List.of(Strategy.LR), 0, 5, 0, 0, 1.5, 1.2, 1, true);
        List<Double> rates = new ArrayList<>();
        try (TrainingRank boosted = TrainingRank.alone(SPEC, How.PLAIN.with(always));
                TrainingRank plain = TrainingRank.alone(SPEC, How.PLAIN.with(never))) {
            StepBatches batches = TrainingRank.batches(ROWS, ALONE, 0, 1);
            for (int step = 0; step < 5; step++) {
                rates.add(boosted.step(batches, 1e-3 / (step + 1)).learningRate() * (step + 1));
            }
            assertThat(plain.step(batches, 1e-3).learningRate()).isEqualTo(1e-3);
        }

        assertThat(rates).allSatisfy(rate -> assertThat(rate).isCloseTo(1.2e-3, within(1e-12)));
    }

    @Test
    void thatRateIsWhatTheOptimizerUses() {
        StrategyConfig always = new StrategyConfig(List.of(Strategy.LR), 1, 5, 0, 0, 1.5, 1.2, 1, true);

        assertThat(trained(How.PLAIN.with(always), 1e-3)).isEqualTo(trained(How.PLAIN, 1e-3 * 1.2));
    }

    @Test
    void strategiesThatDoNotActChangeNoBit() {
        StrategyConfig never = new StrategyConfig(
                List.of(Strategy.NOISE, Strategy.SCALE, Strategy.LR, Strategy.CLIP),
                0,
                1e9,
                5e-3,
                1,
                1.5,
                1.2,
                1,
                true);

        assertThat(trained(How.PLAIN.with(never).withLimit(0.5), 1e-3))
                .isEqualTo(trained(How.PLAIN.withLimit(0.5), 1e-3));
    }

    @Test
    void noiseIsClippedWithTheGradients() {
        StrategyConfig noise = new StrategyConfig(List.of(Strategy.NOISE), 1, 5, 0.1, 0, 1.5, 1.2, 1, true);
        try (TrainingRank alone = TrainingRank.alone(SPEC, How.PLAIN.with(noise).withLimit(0.5))) {
            alone.step(TrainingRank.batches(ROWS, ALONE, 0, 1), 1e-3);

            assertThat(alone.parameters().gradients().norm().item_double()).isCloseTo(0.5, within(1e-5));
        }
    }

    private static double[] trained(How how, double rate) {
        try (TrainingRank alone = TrainingRank.alone(SPEC, how)) {
            for (int step = 0; step < STEPS; step++) {
                alone.step(TrainingRank.batches(ROWS, ALONE, 0, 1), rate);
            }
            return TensorArrays.values(alone.parameters().master());
        }
    }

    @Test
    void theTallyTellsSharesOfStepsAndAdvises() {
        StrategyTally tally = new StrategyTally(StrategyConfig.NONE.with(List.of(Strategy.NOISE, Strategy.CLIP)));
        tally.count(new GradientStrategies.Outcome(2e-4, List.of(Strategy.NOISE), 1, 30));
        tally.count(new GradientStrategies.Outcome(4e-4, List.of(Strategy.NOISE), 1, 20));
        Map<String, Double> logged = tally.logged();
        tally.count(new GradientStrategies.Outcome(2e-3, List.of(), 1, 0));

        assertThat(logged)
                .isEqualTo(
                        Map.of("grad_mean_abs", 4e-4, "noise_to_signal", 20.0, "fired/noise", 1.0, "fired/clip", 0.0));
        assertThat(tally.logged()).containsEntry("fired/noise", 0.0);
        assertThat(tally.summary())
                .contains(
                        "gradient strategies over 3 steps: noise fired in 67 %, clip fired in 0 %; mean abs(g) was 2.00e-04 to 2.00e-03; gradient_vanishing_below 0.001 is above their normal level: lower it, or leave these strategies out");
        assertThat(new StrategyTally(StrategyConfig.NONE).summary()).isEmpty();
    }
}
