package ulysses.runtime.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;

class DocumentBoundariesTest {
    private static final int[] IDS = {5, 6, 7, 8, 9};
    private static final int[] LABELS = {5, 6, 7, 8, 9};

    @Test
    void withoutMarksARowIsOneDocument() {
        assertThat(DocumentBoundaries.row(IDS, LABELS, null, null, null).documentLengths())
                .containsExactly(5);
    }

    @Test
    void sequenceLengthsWin() {
        int[] mask = {1, 1, 1, 1, 1};

        PackedRow row = DocumentBoundaries.row(IDS, LABELS, new int[] {1, 3}, null, mask);

        assertThat(row.documentLengths()).containsExactly(1, 3);
        assertThat(row.length()).isEqualTo(5);
    }

    @Test
    void numbersInTheMaskAreDocuments() {
        int[] mask = {1, 1, 2, 3, 0};
        int[] positions = {0, 1, 0, 0, 0};

        PackedRow row = DocumentBoundaries.row(IDS, LABELS, null, positions, mask);

        assertThat(row.documentLengths()).containsExactly(2, 1, 1);
        assertThat(row.ids()).containsExactly(5, 6, 7, 8);
    }

    @Test
    void numbersInTheMaskNeedNoPositions() {
        PackedRow row = DocumentBoundaries.row(IDS, LABELS, null, null, new int[] {1, 1, 2, 2, 0});

        assertThat(row.documentLengths()).containsExactly(2, 2);
    }

    @Test
    void restartingPositionsAreDocuments() {
        assertThat(DocumentBoundaries.row(IDS, LABELS, null, new int[] {0, 1, 0, 1, 2}, null)
                        .documentLengths())
                .containsExactly(2, 3);
        assertThat(DocumentBoundaries.row(IDS, LABELS, null, new int[] {0, 1, 0, 1, 2}, new int[] {1, 1, 1, 1, 1})
                        .documentLengths())
                .containsExactly(2, 3);
    }

    @Test
    void maskedEndsAreCutOff() {
        PackedRow right = DocumentBoundaries.row(IDS, LABELS, null, null, new int[] {1, 1, 1, 0, 0});
        PackedRow left = DocumentBoundaries.row(IDS, LABELS, null, null, new int[] {0, 0, 1, 1, 1});

        assertThat(right.ids()).containsExactly(5, 6, 7);
        assertThat(left.ids()).containsExactly(7, 8, 9);
        assertThat(left.documentLengths()).containsExactly(3);
    }

    @Test
    void paddingOfPlainPackingIsCutOff() {
        int[] labels = {-100, 6, 7, -100, -100};

        PackedRow row = DocumentBoundaries.row(IDS, labels, null, new int[] {0, 1, 2, 0, 0}, new int[] {1, 1, 1, 1, 1});

        assertThat(row.documentLengths()).containsExactly(3);
    }

    @Test
    void aFullyMaskedRowHasNoDocument() {
        assertThat(DocumentBoundaries.row(IDS, LABELS, null, null, new int[5]).documentLengths())
                .isEmpty();
    }

    @Test
    void refusesContradictions() {
        assertThatThrownBy(() -> DocumentBoundaries.row(IDS, LABELS, null, new int[] {0, 1, 3, 4, 5}, null))
                .hasMessage("position_ids is 3 at token 2; 0 or 2 is expected");
        assertThatThrownBy(() -> DocumentBoundaries.row(IDS, LABELS, null, new int[] {4, 5, 6, 7, 8}, null))
                .hasMessage("position_ids is 4 at token 0; 0 is expected");
        assertThatThrownBy(() -> DocumentBoundaries.row(IDS, LABELS, null, null, new int[] {1, 0, 1, 1, 1}))
                .hasMessage("attention_mask is 0 at token 1, inside of the row");
        assertThatThrownBy(() -> DocumentBoundaries.row(IDS, LABELS, null, null, new int[4]))
                .hasMessage("attention_mask has 4 values for 5 input_ids");
        assertThatThrownBy(() -> DocumentBoundaries.row(IDS, LABELS, new int[] {9}, null, null))
                .hasMessage("documents hold 9 tokens but the row only 5");
    }
}
