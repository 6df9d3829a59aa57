package ulysses.runtime.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.data.RowDealing.Meeting;

final class RowDealingTest {

    @Test
    void rowsInOrderGoRound() {
        assertThat(new RowDealing(2, 2, 2).inOrder(7))
                .containsExactly(List.of(0, 1), List.of(2, 3), List.of(4, 5), List.of(6));
    }

    /** By hand: 9 + 4 + 2 and 8 + 5 + 1. */
    @Test
    void dearRowsMeetDearRows() {
        List<List<Integer>> dealt =
                new RowDealing(2, 3, 1).balanced(new double[] {1, 9, 4, 8, 2, 5}, Meeting.BEHIND_STEP);

        assertThat(dealt).containsExactly(List.of(1), List.of(3), List.of(2), List.of(5), List.of(4), List.of(0));
    }

    @ParameterizedTest(name = "{0} groups, {1} micro-batches of {2} rows, {3} rows")
    @CsvSource({"2,1,1,2", "4,3,1,12", "3,2,4,24", "2,4,2,13", "8,2,2,19", "4,2,2,1"})
    void everyRowIsDealtOnceAndNoMicroBatchHoldsTooMany(int groups, int microBatches, int rows, int count) {
        RowDealing dealing = new RowDealing(groups, microBatches, rows);
        double[] costs = new Random(count).doubles(count, 0, 100).toArray();

        List<List<Integer>> dealt = dealing.balanced(costs, Meeting.BEHIND_STEP);

        assertThat(dealt).hasSize(groups * microBatches).allMatch(bin -> bin.size() <= rows);
        assertThat(dealt.stream().flatMap(List::stream))
                .containsExactlyInAnyOrderElementsOf(
                        IntStream.range(0, count).boxed().toList());
        assertThat(dealing.balanced(costs, Meeting.BEHIND_STEP)).isEqualTo(dealt);
    }

    /** Rows whose cost spreads by a hundred, as squares of lengths do. */
    @ParameterizedTest(name = "{0} groups, {1} micro-batches of {2} rows: {3}")
    @CsvSource({
        "2,4,2,BEHIND_STEP,0.15,0.04",
        "4,4,1,BEHIND_STEP,0.30,0.12",
        "4,8,2,BEHIND_STEP,0.20,0.01",
        "8,4,4,BEHIND_STEP,0.25,0.03",
        "4,4,1,BEHIND_MICRO_BATCH,0.50,0.30",
        "8,4,4,BEHIND_MICRO_BATCH,0.40,0.04"
    })
    void groupsWaitLess(int groups, int microBatches, int rows, Meeting meeting, double inOrder, double balanced) {
        RowDealing dealing = new RowDealing(groups, microBatches, rows);
        Random random = new Random(groups);
        RowDealing.Load before = new RowDealing.Load(0, 0);
        RowDealing.Load after = before;
        for (int step = 0; step < 200; step++) {
            double[] costs = random.doubles((long) groups * microBatches * rows)
                    .map(length -> Math.pow(0.1 + 0.9 * length, 4))
                    .toArray();
            before = before.plus(dealing.load(dealing.inOrder(costs.length), costs, meeting));
            after = after.plus(dealing.load(dealing.balanced(costs, meeting), costs, meeting));
        }

        assertThat(before.waitShare()).isGreaterThan(inOrder);
        assertThat(after.waitShare()).isLessThan(balanced);
        assertThat(after.mean()).isCloseTo(before.mean(), within(1e-9));
    }

    @Test
    void waitIsCountedWhereGroupsMeet() {
        RowDealing dealing = new RowDealing(2, 2, 1);
        double[] costs = {3, 1, 1, 3};

        assertThat(dealing.load(dealing.inOrder(4), costs, Meeting.BEHIND_STEP)).isEqualTo(new RowDealing.Load(4, 4));
        assertThat(dealing.load(dealing.inOrder(4), costs, Meeting.BEHIND_MICRO_BATCH))
                .isEqualTo(new RowDealing.Load(4, 6));
        assertThat(new RowDealing.Load(4, 6).waitShare()).isCloseTo(1 / 3.0, within(1e-12));
    }
}
