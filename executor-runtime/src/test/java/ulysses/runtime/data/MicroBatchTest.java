package ulysses.runtime.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class MicroBatchTest {
    /** Documents [1 2 3] and [4 5], then padding. */
    private static final PackedRow ROW =
            new PackedRow(new int[] {1, 2, 3, 4, 5, 0}, new int[] {1, 2, 3, 4, 5, -100}, new int[] {3, 2});

    @Test
    void shiftsLabelsInsideOfEachDocument() {
        MicroBatch batch = MicroBatch.of(List.of(ROW), 1);

        assertThat(batch.ids()).containsExactly(1, 2, 3, 4, 5);
        assertThat(batch.targets()).containsExactly(2, 3, -100, 5, -100);
        assertThat(batch.positions()).containsExactly(0, 1, 2, 0, 1);
        assertThat(batch.documentEnds()).containsExactly(0, 3, 5);
        assertThat(batch.trainedTokens()).isEqualTo(3);
        assertThat(batch.tokens()).isEqualTo(5);
    }

    @Test
    void documentsThatSeeEachOtherPredictEachOtherAndRestartPositions() {
        PackedRow mixed = new PackedRow(ROW.ids(), ROW.labels(), ROW.documentLengths(), PackedRow.Attention.ROW);

        MicroBatch batch = MicroBatch.of(List.of(mixed, ROW), 4);

        assertThat(batch.targets()).containsExactly(2, 3, 4, 5, -100, 2, 3, -100, 5, -100, -100, -100);
        assertThat(batch.positions()).containsExactly(0, 1, 2, 0, 1, 0, 1, 2, 0, 1, 0, 1);
        assertThat(batch.documentEnds()).containsExactly(0, 5, 8, 10, 12);
        assertThat(batch.trainedTokens()).isEqualTo(mixed.trainedTokens() + ROW.trainedTokens());
        assertThat(mixed.trainedTokens()).isEqualTo(4);
    }

    @Test
    void padsTheStreamAndNotTheRows() {
        MicroBatch batch = MicroBatch.of(List.of(ROW, ROW), 4);

        assertThat(batch.ids()).containsExactly(1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 0, 0);
        assertThat(batch.targets()).containsExactly(2, 3, -100, 5, -100, 2, 3, -100, 5, -100, -100, -100);
        assertThat(batch.positions()).containsExactly(0, 1, 2, 0, 1, 0, 1, 2, 0, 1, 0, 1);
        assertThat(batch.documentEnds()).containsExactly(0, 3, 5, 8, 10, 12);
        assertThat(batch.trainedTokens()).isEqualTo(6);
        assertThat(batch.tokens()).isEqualTo(10);
    }

    @Test
    void tokensAreNumberedByTheirRowInTheRunAndTheirPlaceInIt() {
        MicroBatch batch = MicroBatch.of(List.of(ROW, ROW), 4, 7);

        assertThat(batch.numbers()).startsWith(7L << 32, (7L << 32) + 1).endsWith((8L << 32) + 4, -1, -1);
        assertThat(batch.slice(1, 2).numbers())
                .containsExactly((8L << 32) + 1, (8L << 32) + 2, (8L << 32) + 3, (8L << 32) + 4, -1, -1);
    }

    @Test
    void withoutRowsItIsPadding() {
        MicroBatch batch = MicroBatch.of(List.of(), 4);

        assertThat(batch.length()).isEqualTo(4);
        assertThat(batch.documentEnds()).containsExactly(0, 4);
        assertThat(batch.targets()).containsOnly(-100);
        assertThat(batch.trainedTokens()).isZero();
        assertThat(batch.tokens()).isZero();
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 4, 8})
    void slicesPutTogetherAreTheStream(int groupSize) {
        MicroBatch batch = MicroBatch.of(List.of(ROW, ROW, ROW), groupSize);
        int part = batch.length() / groupSize;

        for (int rank = 0; rank < groupSize; rank++) {
            MicroBatch.Slice slice = batch.slice(rank, groupSize);
            assertThat(slice.ids()).hasSize(part);
            for (int t = 0; t < part; t++) {
                assertThat(slice.ids()[t]).isEqualTo(batch.ids()[rank * part + t]);
                assertThat(slice.targets()[t]).isEqualTo(batch.targets()[rank * part + t]);
                assertThat(slice.positions()[t]).isEqualTo(batch.positions()[rank * part + t]);
            }
        }
    }

    @Test
    void refusesPartsThatAreNotThere() {
        MicroBatch batch = MicroBatch.of(List.of(ROW), 1);

        assertThatThrownBy(() -> batch.slice(0, 2)).hasMessage("no part 0 of 2 of a stream of 5 tokens");
        assertThatThrownBy(() -> batch.slice(1, 1)).hasMessage("no part 1 of 1 of a stream of 5 tokens");
    }
}
