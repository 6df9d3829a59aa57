package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import ulysses.driver.report.RowText.Length;
import ulysses.driver.report.RowText.Marks;
import ulysses.runtime.data.PackedRow;

class RowTextTest {
    private static final int NO = PackedRow.IGNORE_INDEX;

    /** Id 97 is an a. */
    private static final RowText.Decoder LETTERS =
            ids -> Arrays.stream(ids).mapToObj(Character::toString).collect(Collectors.joining());

    private final RowText text = new RowText(LETTERS, Marks.PLAIN, Length.SHORT);

    @Test
    void marksPredictionsThatCountDocumentByDocument() {
        PackedRow row = row("abcdefg..", "ab.d.fg..", 3, 4);

        assertThat(text.lines(5, row))
                .containsExactly(
                        "row 5: 7 tokens in 2 documents, 3 trained, 2 padding",
                        "--- document 1 of 2: 3 tokens, 1 trained",
                        "a⟦b⟧c",
                        "--- document 2 of 2: 4 tokens, 2 trained",
                        "de⟦fg⟧");
        assertThat(row.trainedTokens()).as("what training counts").isEqualTo(3);
    }

    @Test
    void aFirstTokensLabelDoesNotCountAndIsNotMarked() {
        assertThat(text.lines(0, row("ab", "ab", 1, 1))).contains("a", "b").noneMatch(line -> line.contains("⟦"));
    }

    @Test
    void colourComesOnTopOfTheMarks() {
        RowText coloured = new RowText(LETTERS, Marks.COLOURED, Length.SHORT);

        assertThat(coloured.lines(0, row("ab", ".b", 2))).last().isEqualTo("a\u001b[32m⟦b⟧\u001b[0m");
    }

    @Test
    void cutsLongTextsInTheMiddleUnlessAllIsWanted() {
        String body = "x".repeat(2_000);
        PackedRow row = row("a" + body, "." + body, 2_001);

        String cut = text.lines(0, row).get(2);
        String full =
                new RowText(LETTERS, Marks.PLAIN, Length.FULL).lines(0, row).get(2);

        assertThat(cut).isEqualTo("a⟦" + "x".repeat(300) + "[... 1,550 characters ...]" + "x".repeat(150) + "⟧");
        assertThat(full).isEqualTo("a⟦" + body + "⟧");
    }

    @Test
    void cutsManyDocumentsAndManyTurns() {
        int[] six = {1, 1, 1, 1, 1, 1};
        PackedRow turns = row("ab".repeat(20), ".b".repeat(20), 40);

        assertThat(text.lines(0, row("abcdef", "......", six)))
                .contains("--- document 4 of 6: 1 tokens, 0 trained")
                .last()
                .isEqualTo("--- and 2 more documents (--full shows all)");
        assertThat(text.lines(0, turns)).last().isEqualTo("[... 28 more turns ...]");
    }

    @Test
    void spellsOutWhatWouldSteerTheTerminal() {
        assertThat(text.lines(0, row("a\u001b[2J\tb", "........", 7))).last().isEqualTo("a\\u001b[2J\tb");
    }

    @Test
    void neverCutsACharacterInTwo() {
        String smile = "\ud83d\ude00";
        int[] ids = IntStream.range(0, 1_000).map(i -> smile.codePointAt(0)).toArray();
        int[] labels = new int[1_000];
        Arrays.fill(labels, NO);

        assertThat(text.lines(0, new PackedRow(ids, labels, new int[] {1_000})))
                .last()
                .isEqualTo(smile.repeat(300) + "[... 550 characters ...]" + smile.repeat(150));
    }

    /** A letter of {@code labels} is the label, a dot is none. */
    private static PackedRow row(String ids, String labels, int... documents) {
        return new PackedRow(
                ids.chars().toArray(),
                labels.chars().limit(ids.length()).map(c -> c == '.' ? NO : c).toArray(),
                documents);
    }
}
