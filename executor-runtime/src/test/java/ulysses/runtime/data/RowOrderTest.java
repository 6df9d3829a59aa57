package ulysses.runtime.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class RowOrderTest {

    @ParameterizedTest
    @ValueSource(longs = {1, 2, 3, 4, 5, 7, 16, 17, 64, 65, 1000, 4097, 100_003})
    void everyRowComesOnceAnEpoch(long rows) {
        RowOrder order = RowOrder.shuffled(rows, 42);
        for (long epoch = 0; epoch < 3; epoch++) {
            assertThat(Arrays.stream(epoch(order, epoch, rows)).sorted().toArray())
                    .isEqualTo(LongStream.range(0, rows).toArray());
        }
    }

    @Test
    void seedAndEpochChangeTheOrder() {
        long[] order = epoch(RowOrder.shuffled(1000, 42), 0, 1000);

        assertThat(epoch(RowOrder.shuffled(1000, 42), 0, 1000)).isEqualTo(order);
        assertThat(epoch(RowOrder.shuffled(1000, 42), 1, 1000)).isNotEqualTo(order);
        assertThat(epoch(RowOrder.shuffled(1000, 43), 0, 1000)).isNotEqualTo(order);
        assertThat(epoch(RowOrder.shuffled(1000, 43), 0, 1000))
                .isNotEqualTo(epoch(RowOrder.shuffled(1000, 42), 1, 1000));
    }

    @Test
    void everyRowStandsAnywhereAboutEquallyOften() {
        int rows = 10;
        int epochs = 20_000;
        int[][] seen = new int[rows][rows];
        for (int epoch = 0; epoch < epochs; epoch++) {
            for (int place = 0; place < rows; place++) {
                seen[place][(int) RowOrder.shuffled(rows, 1).row(epoch, place)]++;
            }
        }
        double mean = epochs / (double) rows; // 2000, standard deviation 42
        assertThat(Arrays.stream(seen).flatMapToInt(Arrays::stream)).allMatch(count -> Math.abs(count - mean) < 250);
    }

    @Test
    void worksOnVeryManyRows() {
        RowOrder order = RowOrder.shuffled(1L << 59, 3);
        assertThat(order.row(0, (1L << 59) - 1)).isBetween(0L, (1L << 59) - 1);
    }

    @Test
    void fileOrderStays() {
        assertThat(epoch(RowOrder.inFileOrder(), 5, 4)).containsExactly(0, 1, 2, 3);
    }

    @Test
    void refusesPlacesOutsideOfTheEpoch() {
        assertThatThrownBy(() -> RowOrder.shuffled(5, 1).row(0, 5)).hasMessage("place 5 of 5 rows");
        assertThatThrownBy(() -> RowOrder.shuffled(0, 1)).hasMessageContaining("an order of 0 rows");
    }

    private static long[] epoch(RowOrder order, long epoch, long rows) {
        return LongStream.range(0, rows).map(place -> order.row(epoch, place)).toArray();
    }
}
