package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.training.TrainingRank.How;
import ulysses.runtime.weights.ModelSpec;

/** Weights and activations in bfloat16, master weights, gradients and moments in float32. */
final class Bfloat16Test {

    private static final int STEPS = 5;
    private static final ModelSpec SPEC = SmallModels.llama();
    private static final List<PackedRow> ROWS = SmallModels.rows(31, 4, 20);
    private static final How BFLOAT16 = How.PLAIN.with(ComputeType.BFLOAT16);

    @Test
    void theLossStaysNearThatOfFloat32() {
        List<StepMetrics> exact = train(How.PLAIN);
        List<StepMetrics> rounded = train(BFLOAT16);

        assertThat(exact.get(STEPS - 1).loss()).isLessThan(exact.get(0).loss() - 0.1);
        for (int step = 0; step < STEPS; step++) {
            assertThat(rounded.get(step).loss())
                    .as("loss of step %d", step)
                    .isNotEqualTo(exact.get(step).loss())
                    .isCloseTo(exact.get(step).loss(), within(2e-2));
            assertThat(rounded.get(step).gradNorm() / exact.get(step).gradNorm())
                    .isCloseTo(1, within(2e-2));
        }
    }

    @Test
    void twoRanksGiveNearlyWhatOneGives() {
        List<StepMetrics> one = train(BFLOAT16);

        RankMesh mesh = new RankMesh(2, 2);
        List<List<StepMetrics>> two = RankThreads.run(mesh, groups -> {
            try (TrainingRank rank = TrainingRank.of(SPEC, BFLOAT16, groups)) {
                return train(rank, mesh, groups.world().rank());
            }
        });

        for (int step = 0; step < STEPS; step++) {
            assertThat(two.get(0).get(step).loss())
                    .isEqualTo(two.get(1).get(step).loss())
                    .isCloseTo(one.get(step).loss(), within(5e-3));
        }
    }

    @ParameterizedTest(name = "checkpointing {0}")
    @ValueSource(booleans = {true, false})
    void updatesTooSmallForBfloat16GatherInTheMasters(boolean checkpointing) {
        How how = checkpointing ? BFLOAT16 : BFLOAT16.withoutCheckpointing();
        try (TrainingRank rank = TrainingRank.alone(SPEC, how);
                TensorScope scope = TensorScope.open()) {
            double[] weights = TensorArrays.values(rank.parameters().weights());
            double[] masters = TensorArrays.values(rank.parameters().master());

            train(rank, new RankMesh(1, 1), 0, 1e-6);

            double[] weightsAfter = TensorArrays.values(rank.parameters().weights());
            double[] mastersAfter = TensorArrays.values(rank.parameters().master());
            int stay = 0;
            int advance = 0;
            for (int i = 0; i < weights.length; i++) {
                stay += weights[i] == weightsAfter[i] ? 1 : 0;
                advance += masters[i] != mastersAfter[i] ? 1 : 0;
            }
            assertThat(stay).isGreaterThan(weights.length * 9 / 10);
            assertThat(advance).isGreaterThan(weights.length * 9 / 10);
            assertThat(rank.parameters().master().scalar_type().intern()).isEqualTo(torch.ScalarType.Float);
            assertThat(rank.parameters().gradients().scalar_type().intern()).isEqualTo(torch.ScalarType.Float);
            assertThat(rank.parameters().weights().scalar_type().intern()).isEqualTo(torch.ScalarType.BFloat16);
        }
    }

    private static List<StepMetrics> train(How how) {
        try (TrainingRank rank = TrainingRank.alone(SPEC, how)) {
            return train(rank, new RankMesh(1, 1), 0);
        }
    }

    private static List<StepMetrics> train(TrainingRank rank, RankMesh mesh, int worldRank) {
        return train(rank, mesh, worldRank, 1e-2);
    }

    private static List<StepMetrics> train(TrainingRank rank, RankMesh mesh, int worldRank, double rate) {
        List<StepMetrics> metrics = new ArrayList<>();
        for (int step = 0; step < STEPS; step++) {
            metrics.add(rank.step(TrainingRank.batches(ROWS, mesh, worldRank, 1), rate));
        }
        return metrics;
    }
}
