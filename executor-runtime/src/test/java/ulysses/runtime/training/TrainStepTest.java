package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.training.TrainingRank.How;
import ulysses.runtime.weights.ModelSpec;

/** The order of one step: all micro-batches, sum over ranks, norm, clipping, update. */
final class TrainStepTest {

    private static final ModelSpec SPEC = SmallModels.llama();
    private static final List<PackedRow> ROWS = SmallModels.rows(21, 4, 20);
    private static final RankMesh ALONE = new RankMesh(1, 1);

    @ParameterizedTest(name = "{0} ranks, P = {1}, accumulation {2}")
    @CsvSource({"1,1,1", "1,1,4", "2,2,1", "2,1,2", "4,2,1"})
    void clipsTheSumOverAllRanksAndMicroBatches(int ranks, int p, int accumulation) {
        double limit = 0.01;
        double norm;
        double[] unclipped;
        try (TrainingRank alone = TrainingRank.alone(SPEC, How.PLAIN)) {
            norm = alone.step(TrainingRank.batches(ROWS, ALONE, 0, 1), 0).gradNorm();
            unclipped = TensorArrays.values(alone.parameters().gradients());
        }
        assertThat(norm).isGreaterThan(10 * limit);

        RankMesh mesh = new RankMesh(ranks, p);
        RankThreads.forEachRank(mesh, groups -> {
            try (TrainingRank rank = TrainingRank.of(SPEC, How.PLAIN.withLimit(limit), groups)) {
                StepMetrics metrics = rank.step(
                        TrainingRank.batches(ROWS, mesh, groups.world().rank(), accumulation), 1e-3);

                double[] clipped = TensorArrays.values(rank.parameters().gradients());
                double[] expected = new double[clipped.length];
                for (int i = 0; i < expected.length; i++) {
                    expected[i] = unclipped[i] * limit / (norm + 1e-6);
                }
                assertThat(metrics.gradNorm() / norm).isCloseTo(1, within(1e-5));
                assertThat(TensorArrays.relative(clipped, expected)).isLessThan(1e-5);
            }
        });
    }

    @Test
    void everyStepStartsWithoutTheGradientsOfTheLast() {
        try (TrainingRank alone = TrainingRank.alone(SPEC, How.PLAIN)) {
            StepBatches batches = TrainingRank.batches(ROWS, ALONE, 0, 2);

            StepMetrics first = alone.step(batches, 0);
            double[] gradients = TensorArrays.values(alone.parameters().gradients());
            StepMetrics second = alone.step(batches, 0);

            assertThat(second.loss()).isEqualTo(first.loss());
            assertThat(TensorArrays.values(alone.parameters().gradients())).isEqualTo(gradients);
        }
    }

    @Test
    void phasesAreThoseOfTheStepAlone() {
        try (TrainingRank alone = TrainingRank.alone(SPEC, How.PLAIN)) {
            StepBatches batches = TrainingRank.batches(ROWS, ALONE, 0, 1);
            alone.step(batches, 0);
            for (int pass = 0; pass < 50; pass++) {
                alone.sequence().sums(batches.microBatches().get(0));
            }

            StepMetrics metrics = alone.step(batches, 0);

            double phases = metrics.phases().values().stream()
                    .mapToDouble(Double::doubleValue)
                    .sum();
            assertThat(phases).isPositive().isLessThanOrEqualTo(metrics.computeSeconds());
        }
    }

    @Test
    void theLossIsTheMeanOverTrainedTokensOnEveryRank() {
        double expected;
        long trained = ROWS.stream().mapToLong(PackedRow::trainedTokens).sum();
        try (TrainingRank alone = TrainingRank.alone(SPEC, How.PLAIN)) {
            expected = alone.sequence()
                            .sums(TrainingRank.batches(ROWS, ALONE, 0, 1)
                                    .microBatches()
                                    .get(0))
                            .loss()
                    / trained;
        }

        RankMesh mesh = new RankMesh(4, 2);
        List<StepMetrics> metrics = RankThreads.run(mesh, groups -> {
            try (TrainingRank rank = TrainingRank.of(SPEC, How.PLAIN, groups)) {
                return rank.step(TrainingRank.batches(ROWS, mesh, groups.world().rank(), 1), 1e-3);
            }
        });

        for (StepMetrics of : metrics) {
            assertThat(of.loss()).isEqualTo(metrics.get(0).loss()).isCloseTo(expected, within(1e-6));
            assertThat(of.trainedTokens()).isEqualTo(trained);
            assertThat(of.updated()).isTrue();
        }
    }

    @Test
    void numbersThatAreNotFiniteOnOneRankSkipTheStepOnAll() {
        RankMesh mesh = new RankMesh(2, 1); // each rank has its own rows, so only one sees the broken token
        RankThreads.forEachRank(mesh, groups -> {
            try (TrainingRank rank = TrainingRank.of(SPEC, How.PLAIN, groups);
                    TensorScope scope = TensorScope.open()) {
                if (groups.world().rank() == 1) {
                    rank.parameters().get("model.norm.weight").value().detach().fill_(new Scalar(Double.NaN));
                }
                Tensor before = rank.parameters().master().clone();

                StepMetrics metrics = rank.step(
                        TrainingRank.batches(ROWS, mesh, groups.world().rank(), 1), 1e-3);

                assertThat(metrics.updated()).isFalse();
                assertThat(metrics.loss()).isNaN();
                assertThat(rank.optimizer().steps()).isZero();
                assertThat(torch.equal(rank.parameters().master().nan_to_num(), before.nan_to_num()))
                        .isTrue();
            }
        });
    }

    @Test
    void allRanksLearnWhichMicroBatchesWereNotFinite() {
        int broken = ROWS.get(3).ids()[0];
        List<PackedRow> rows = new ArrayList<>(
                ROWS.subList(0, 3).stream().map(row -> without(row, broken)).toList());
        rows.add(ROWS.get(3));
        RankMesh mesh = new RankMesh(4, 2); // rows 0, 2 go to the first group, 1, 3 to the second
        RankThreads.forEachRank(mesh, groups -> {
            try (TrainingRank rank = TrainingRank.of(SPEC, How.PLAIN, groups);
                    TensorScope scope = TensorScope.open()) {
                rank.parameters()
                        .get("model.embed_tokens.weight")
                        .value()
                        .detach()
                        .select(0, broken)
                        .fill_(new Scalar(Double.POSITIVE_INFINITY));

                StepMetrics metrics = rank.step(
                        TrainingRank.batches(rows, mesh, groups.world().rank(), 2), 1e-3);

                assertThat(metrics.updated()).isFalse();
                assertThat(metrics.suspects()).isNotEmpty().allSatisfy(suspect -> {
                    assertThat(mesh.dataParallelRank(suspect.rank())).isEqualTo(1);
                    assertThat(suspect.microBatch()).isEqualTo(1);
                });
            }
        });
    }

    private static PackedRow without(PackedRow row, int token) {
        int[] ids = row.ids().clone();
        for (int i = 0; i < ids.length; i++) {
            ids[i] = ids[i] == token ? (token + 1) % SmallModels.VOCABULARY : ids[i];
        }
        return new PackedRow(ids, row.labels(), row.documentLengths());
    }
}
