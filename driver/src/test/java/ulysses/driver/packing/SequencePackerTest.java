package ulysses.driver.packing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import ulysses.driver.ReferenceFiles;
import ulysses.runtime.config.TrainingConfig.Packing;
import ulysses.runtime.data.PackedRow;

class SequencePackerTest {

    @Test
    void bestFitTakesTheRowWithTheLeastSpace() {
        assertThat(SequencePacker.bestFit(new int[] {6, 3, 7, 4, 2}, 10))
                .containsExactly(List.of(0, 3), List.of(1, 2), List.of(4));
    }

    @Test
    void bestFitTakesTheOldestOfEqualRowsAndTheFirstOfEqualSequences() {
        assertThat(SequencePacker.bestFit(new int[] {6, 6, 4, 4}, 10)).containsExactly(List.of(0, 2), List.of(1, 3));
        assertThat(SequencePacker.bestFit(new int[] {5, 5, 5}, 10)).containsExactly(List.of(0, 1), List.of(2));
    }

    @Test
    void bestFitPlacesEverySequenceOnceAndNeverTooManyTokens() {
        Random random = new Random(11);
        int[] lengths = random.ints(5000, 1, 2049).toArray();

        List<List<Integer>> rows = SequencePacker.bestFit(lengths, 2048);

        assertThat(rows.stream().flatMap(List::stream))
                .containsExactlyInAnyOrderElementsOf(
                        IntStream.range(0, 5000).boxed().toList());
        assertThat(rows).allMatch(row -> row.stream().mapToInt(i -> lengths[i]).sum() <= 2048);
        assertThat(Arrays.stream(lengths).sum() / (2048.0 * rows.size())).isGreaterThan(0.99);
    }

    @Test
    void knapsackTakesTheLongestThatFitsAndTheLastOfEqualOnes() {
        assertThat(SequencePacker.knapsack(new int[] {3, 6, 3, 4, 6}, 10))
                .containsExactly(List.of(4, 3), List.of(1, 2), List.of(0));
    }

    @Test
    void refusesWhatFitsInNoRow() {
        assertThatThrownBy(() -> SequencePacker.bestFit(new int[] {11}, 10))
                .hasMessage("a sequence of 11 tokens for rows of 10; lengths are 1 to that");
        assertThatThrownBy(() -> SequencePacker.knapsack(new int[] {0}, 10))
                .hasMessageContaining("a sequence of 0 tokens");
    }

    @Test
    void nothingGivesNoRows() {
        assertThat(SequencePacker.bestFit(new int[0], 10)).isEmpty();
        assertThat(SequencePacker.knapsack(new int[0], 10)).isEmpty();
    }

    static Stream<JsonNode> neatCases() {
        return ReferenceFiles.lines("templates/packing").stream()
                .filter(line -> line.path("args").path("neat_packing").asBoolean());
    }

    /**
     * The documents that LLaMA-Factory packed are taken apart, brought back into an order that gives its choice among equal
     * lengths, and packed again; the whole path from text is tested in PrepareParityTest.
     */
    @ParameterizedTest
    @MethodSource("neatCases")
    void neatRowsAreThoseOfLlamaFactory(JsonNode line) throws IOException {
        int cutoff = line.path("args").path("cutoff_len").asInt();
        List<PackedRow> expected = new ArrayList<>();
        List<EncodedExample> documents = new ArrayList<>();
        for (JsonNode row : line.path("expected")) {
            expected.add(Recorded.row(row));
            documents.addAll(Recorded.documents(Recorded.row(row)));
        }
        Collections.reverse(documents); // of equal lengths the last one is taken first
        int padId = Recorded.padId(line);
        List<PackedRow> rows = new ArrayList<>();

        try (RowMaker maker =
                RowMaker.of(Packing.LLAMAFACTORY_NEAT, new RowMaker.Shape(cutoff, 1000, padId, -1), rows::add)) {
            for (int place = 0; place < documents.size(); place++) {
                maker.add(place, documents.get(place));
            }
            maker.finish();
        }

        assertThat(rows).isEqualTo(expected);
    }
}
