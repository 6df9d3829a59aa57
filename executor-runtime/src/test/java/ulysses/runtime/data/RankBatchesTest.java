package ulysses.runtime.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.data.RowDealing.Meeting;
import ulysses.runtime.mesh.RankMesh;

class RankBatchesTest {
    @TempDir
    private Path temporary;

    @Test
    void fileOrderGivesOneRowABatchSlot() throws IOException {
        try (PackedDataset dataset = dataset(10)) {
            RankBatches batches = RankBatches.training(dataset, new RankMesh(1, 1), 0, step(2, 2, 1, -1, false));

            assertThat(rows(batches.step(0))).containsExactly(List.of(0, 1), List.of(2, 3));
            assertThat(rows(batches.step(1))).containsExactly(List.of(4, 5), List.of(6, 7));
            assertThat(rows(batches.step(2))).containsExactly(List.of(8, 9));
            assertThat(batches.step(1).endsEpoch()).isFalse();
            assertThat(batches.step(2).endsEpoch()).isTrue();
            assertThat(rows(batches.step(3))).containsExactly(List.of(0, 1), List.of(2, 3));
        }
    }

    @Test
    void groupsTakeTurnsAsAccelerateDealsThem() throws IOException {
        try (PackedDataset dataset = dataset(10)) {
            StepConfig step = step(1, 2, 1, -1, false);

            assertThat(rows(RankBatches.training(dataset, new RankMesh(4, 2), 0, step)
                            .step(0)))
                    .containsExactly(List.of(0), List.of(2));
            assertThat(rows(RankBatches.training(dataset, new RankMesh(4, 2), 1, step)
                            .step(0)))
                    .containsExactly(List.of(0), List.of(2));
            assertThat(rows(RankBatches.training(dataset, new RankMesh(4, 2), 3, step)
                            .step(0)))
                    .containsExactly(List.of(1), List.of(3));
        }
    }

    /** Global batch 12 in every mesh: world size, P, rows a rank, accumulation. */
    @ParameterizedTest
    @CsvSource({"1,1,1,12", "1,1,4,3", "2,2,12,1", "2,1,3,2", "4,1,1,3", "4,2,2,3", "6,2,4,1", "8,4,6,1"})
    void everyMeshWorksOnTheSameRowsEachStep(int world, int groupSize, int rowsPerRank, int accumulation)
            throws IOException {
        try (PackedDataset dataset = dataset(41)) {
            RankMesh mesh = new RankMesh(world, groupSize);
            RankBatches plain = RankBatches.training(dataset, new RankMesh(1, 1), 0, step(12, 1, 2, -1, true));

            for (long step = 0; step < plain.totalSteps(); step++) {
                List<Integer> all = new ArrayList<>();
                for (int group = 0; group < mesh.dataParallelSize(); group++) {
                    RankBatches mine = RankBatches.training(
                            dataset, mesh, group * groupSize, step(rowsPerRank, accumulation, 2, -1, true));
                    StepBatches batches = mine.step(step);
                    rows(batches).forEach(all::addAll);
                    assertThat(mine.totalSteps()).isEqualTo(plain.totalSteps());
                    assertThat(batches.globalTrainedTokens())
                            .isEqualTo(plain.step(step).globalTrainedTokens());
                    assertThat(batches.globalTokens())
                            .isEqualTo(plain.step(step).globalTokens());
                    assertThat(batches.globalRows()).isEqualTo(plain.step(step).globalRows());
                    assertThat(batches.endsEpoch()).isEqualTo(plain.step(step).endsEpoch());
                }
                List<Integer> expected = rows(plain.step(step)).get(0);
                assertThat(all).containsExactlyInAnyOrderElementsOf(expected);
            }
        }
    }

    @ParameterizedTest
    @CsvSource({"2,1,3,2", "4,1,1,3", "4,2,2,3", "6,2,4,1"})
    void balancedGroupsShareTheSameRowsEachStepAndWaitLess(int world, int groupSize, int rowsPerRank, int accumulation)
            throws IOException {
        try (PackedDataset dataset = dataset(41)) {
            RankMesh mesh = new RankMesh(world, groupSize);
            StepConfig config = step(rowsPerRank, accumulation, 2, -1, true);
            RankBatches inOrder = RankBatches.training(dataset, mesh, 0, config);
            for (long step = 0; step < inOrder.totalSteps(); step++) {
                Map<Integer, Long> numbers = new TreeMap<>();
                Map<Integer, Long> numbersInOrder = new TreeMap<>();
                for (int group = 0; group < mesh.dataParallelSize(); group++) {
                    RankBatches plain = RankBatches.training(dataset, mesh, group * groupSize, config);
                    RankBatches mine = plain.balanced(RankBatchesTest::squared, Meeting.BEHIND_STEP);
                    StepBatches batches = mine.step(step);
                    StepBatches before = plain.step(step);
                    numbers.putAll(numbers(batches));
                    numbersInOrder.putAll(numbers(before));
                    assertThat(batches.microBatches()).hasSameSizeAs(before.microBatches());
                    assertThat(batches.globalTrainedTokens()).isEqualTo(before.globalTrainedTokens());
                    assertThat(batches.globalTokens()).isEqualTo(before.globalTokens());
                    assertThat(batches.endsEpoch()).isEqualTo(before.endsEpoch());
                    for (int m = 0; m < batches.microBatches().size(); m++) {
                        List<Integer> named = mine.rowNumbers(step, group, m).stream()
                                .map(Long::intValue)
                                .toList();
                        assertThat(rows(batches).get(m)).isEqualTo(named);
                    }
                }
                assertThat(numbers).isEqualTo(numbersInOrder);
            }
            assertThat(inOrder.balanced(RankBatchesTest::squared, Meeting.BEHIND_STEP)
                            .expectedWait(RankBatchesTest::squared, Meeting.BEHIND_STEP, 99))
                    .isLessThan(inOrder.expectedWait(RankBatchesTest::squared, Meeting.BEHIND_STEP, 99));
        }
    }

    @Test
    void oneGroupHasNobodyToWaitFor() throws IOException {
        try (PackedDataset dataset = dataset(9)) {
            RankBatches batches = RankBatches.training(dataset, new RankMesh(2, 2), 0, step(2, 2, 1, -1, true));

            assertThat(rows(batches.balanced(RankBatchesTest::squared, Meeting.BEHIND_STEP)
                            .step(0)))
                    .isEqualTo(rows(batches.step(0)));
            assertThat(batches.expectedWait(RankBatchesTest::squared, Meeting.BEHIND_MICRO_BATCH, 9))
                    .isZero();
        }
    }

    private static double squared(int tokens) {
        return (double) tokens * tokens;
    }

    /** The number of the first token of each row, which does not depend on who works on it. */
    private static Map<Integer, Long> numbers(StepBatches batches) {
        Map<Integer, Long> numbers = new TreeMap<>();
        for (MicroBatch batch : batches.microBatches()) {
            for (int t = 0; t < batch.tokens(); t++) {
                numbers.putIfAbsent(batch.ids()[t] - 1, batch.numbers()[t]);
            }
        }
        return numbers;
    }

    @Test
    void globalCountsAreTheSumOverGroupsAndMicroBatches() throws IOException {
        try (PackedDataset dataset = dataset(7)) {
            RankMesh mesh = new RankMesh(3, 1);
            for (long step = 0; step < 2; step++) {
                long trained = 0;
                long tokens = 0;
                long claimed = 0;
                for (int rank = 0; rank < 3; rank++) {
                    StepBatches batches = RankBatches.training(dataset, mesh, rank, step(1, 2, 1, -1, true))
                            .step(step);
                    trained += batches.microBatches().stream()
                            .mapToLong(MicroBatch::trainedTokens)
                            .sum();
                    tokens += batches.microBatches().stream()
                            .mapToLong(MicroBatch::tokens)
                            .sum();
                    claimed = batches.globalTrainedTokens();
                }
                assertThat(claimed).isEqualTo(trained).isPositive();
                assertThat(tokens).isPositive();
            }
        }
    }

    @Test
    void groupsWithoutRowsGetPaddingAndNoGroupFewerMicroBatches() throws IOException {
        try (PackedDataset dataset = dataset(5)) {
            RankMesh mesh = new RankMesh(4, 2);
            StepBatches first = RankBatches.training(dataset, mesh, 0, step(2, 2, 1, -1, false))
                    .step(0);
            StepBatches second = RankBatches.training(dataset, mesh, 2, step(2, 2, 1, -1, false))
                    .step(0);

            assertThat(rows(first)).containsExactly(List.of(0, 1), List.of(4));
            assertThat(rows(second)).containsExactly(List.of(2, 3), List.of());
            assertThat(second.microBatches().get(1).length()).isEqualTo(2);
            assertThat(first.globalRows()).isEqualTo(5);
        }
    }

    @Test
    void lengthsAreMultiplesOfTheGroup() throws IOException {
        try (PackedDataset dataset = dataset(9)) {
            RankBatches batches = RankBatches.training(dataset, new RankMesh(4, 4), 0, step(2, 1, 1, -1, true));

            for (long step = 0; step < batches.totalSteps(); step++) {
                assertThat(batches.step(step).microBatches().get(0).length() % 4)
                        .isZero();
            }
        }
    }

    /** 154 rows of LLaMA-Factory's recorded pt-full run: 77 micro-batches of two, 20 steps of four. */
    @Test
    void stepsAndEpochsAreThoseOfTheTrainer() throws IOException {
        try (PackedDataset dataset = dataset(154)) {
            RankBatches batches = RankBatches.training(dataset, new RankMesh(1, 1), 0, step(2, 4, 1, -1, true));

            assertThat(batches.microBatchesPerEpoch()).isEqualTo(77);
            assertThat(batches.stepsPerEpoch()).isEqualTo(20);
            assertThat(batches.totalSteps()).isEqualTo(20);
            assertThat(batches.step(19).microBatches()).hasSize(1);
            assertThat(batches.epochAt(1)).isEqualTo(0.05194805194805195);
            assertThat(batches.epochAt(19)).isEqualTo(0.987012987012987);
            assertThat(batches.epochAt(20)).isEqualTo(1.0);
            assertThat(batches.epochAt(21)).isCloseTo(1.051948051948052, within(1e-12));
        }
    }

    @Test
    void fractionsOfEpochsAreRoundedUpToSteps() throws IOException {
        try (PackedDataset dataset = dataset(7)) {
            RankMesh mesh = new RankMesh(1, 1);
            assertThat(RankBatches.training(dataset, mesh, 0, step(1, 2, 2.1, -1, true))
                            .totalSteps())
                    .isEqualTo(9);
            assertThat(RankBatches.training(dataset, mesh, 0, step(1, 2, 0.1, -1, true))
                            .totalSteps())
                    .isEqualTo(1);
            assertThat(RankBatches.training(dataset, mesh, 0, step(1, 2, 3, 5, true))
                            .totalSteps())
                    .isEqualTo(5);
            assertThat(RankBatches.training(dataset, mesh, 0, step(1, 100, 1, -1, true))
                            .stepsPerEpoch())
                    .isEqualTo(1);
        }
    }

    @Test
    void epochsAreShuffledDifferently() throws IOException {
        try (PackedDataset dataset = dataset(20)) {
            RankBatches batches = RankBatches.training(dataset, new RankMesh(1, 1), 0, step(20, 1, 2, -1, true));

            List<Integer> first = rows(batches.step(0)).get(0);
            List<Integer> second = rows(batches.step(1)).get(0);

            assertThat(first).isNotEqualTo(second).containsExactlyInAnyOrderElementsOf(second);
            assertThat(first).isNotEqualTo(IntStream.range(0, 20).boxed().toList());
        }
    }

    @Test
    void evaluationGoesThroughAllRowsOnceInOrder() throws IOException {
        try (PackedDataset dataset = dataset(5)) {
            RankBatches batches = RankBatches.evaluation(dataset, new RankMesh(1, 1), 0, 2);

            assertThat(batches.totalSteps()).isEqualTo(3);
            assertThat(rows(batches.step(0))).containsExactly(List.of(0, 1));
            assertThat(rows(batches.step(2))).containsExactly(List.of(4));
        }
    }

    /** Row i holds i % 3 + 1 documents whose ids are all i + 1, so that rows can be told from a stream. */
    private PackedDataset dataset(int count) throws IOException {
        List<PackedRow> rows = IntStream.range(0, count)
                .mapToObj(i -> {
                    int[] lengths = IntStream.range(0, i % 3 + 1)
                            .map(j -> 2 + i % 5 + j)
                            .toArray();
                    int[] ids = new int[Arrays.stream(lengths).sum()];
                    Arrays.fill(ids, i + 1);
                    int[] labels = ids.clone();
                    Arrays.fill(labels, 0, Math.min(i % 4, ids.length), PackedRow.IGNORE_INDEX);
                    return new PackedRow(ids, labels, lengths);
                })
                .toList();
        Path folder = temporary.resolve("rows");
        PackedDatasetTest.write(folder, List.of(rows));
        return PackedDataset.open(folder.toString(), temporary.resolve("scratch"), new Configuration(false));
    }

    private static List<List<Integer>> rows(StepBatches batches) {
        return batches.microBatches().stream()
                .map(batch -> Arrays.stream(batch.ids(), 0, (int) batch.tokens())
                        .map(id -> id - 1)
                        .distinct()
                        .boxed()
                        .toList())
                .toList();
    }

    private static StepConfig step(int rowsPerRank, int accumulation, double epochs, int maxSteps, boolean shuffle) {
        return new StepConfig(
                rowsPerRank,
                accumulation,
                1e-4,
                epochs,
                maxSteps,
                "linear",
                Map.of(),
                0,
                0,
                0,
                0.9,
                0.999,
                1e-8,
                1,
                42,
                42,
                shuffle);
    }
}
