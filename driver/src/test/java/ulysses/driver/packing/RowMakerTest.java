package ulysses.driver.packing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import ulysses.runtime.config.TrainingConfig.Packing;
import ulysses.runtime.data.PackedRow;

class RowMakerTest {
    private static final RowMaker.Shape SHAPE = new RowMaker.Shape(8, 3, 99, -1);

    private final List<PackedRow> rows = new ArrayList<>();

    @Test
    void withoutPackingEveryExampleIsARow() throws IOException {
        make(Packing.NONE, SHAPE, 3, 5);

        assertThat(rows).extracting(PackedRow::length).containsExactly(3, 5);
        assertThat(rows.get(1).labels()).isEqualTo(example(5, 1).labels());
    }

    @Test
    void bestFitIsolatesDocumentsWithoutPadding() throws IOException {
        make(Packing.BEST_FIT, SHAPE, 3, 6, 5, 2);

        assertThat(rows).extracting(PackedRow::documentLengths).containsExactly(new int[] {3, 5}, new int[] {6, 2});
        assertThat(rows.get(1).ids()).containsExactly(100, 101, 102, 103, 104, 105, 300, 301);
        assertThat(rows.get(1).labels()[0]).isEqualTo(-100);
    }

    @Test
    void bestFitSplitsLongTextsInOrderAndLosesNothing() throws IOException {
        make(Packing.BEST_FIT, SHAPE, 21, 3);

        assertThat(rows)
                .extracting(PackedRow::documentLengths)
                .containsExactly(new int[] {8}, new int[] {8}, new int[] {5, 3});
        assertThat(rows.stream().flatMapToInt(row -> Arrays.stream(row.ids())))
                .startsWith(0, 1, 2, 3, 4, 5, 6, 7, 8)
                .containsSequence(17, 18, 19, 20)
                .hasSize(24);
    }

    @Test
    void knapsackKeepsBatchesApartByPlace() throws IOException {
        try (RowMaker maker = RowMaker.of(Packing.LLAMAFACTORY_NEAT, SHAPE, rows::add)) {
            maker.add(0, example(2, 0));
            maker.add(2, example(2, 1)); // place 1 was dropped
            maker.add(3, example(2, 2));
            maker.finish();
        }

        assertThat(rows).extracting(PackedRow::documentLengths).containsExactly(new int[] {2, 2}, new int[] {2});
        assertThat(rows.get(0).ids()).containsExactly(100, 101, 0, 1, 99, 99, 99, 99);
        assertThat(rows.get(1).ids()).containsExactly(200, 201, 99, 99, 99, 99, 99, 99);
    }

    @Test
    void blocksJoinTextsAndLeaveOutTheRestOfEachBatch() throws IOException {
        RowMaker maker = make(Packing.LLAMAFACTORY_BLOCKS, SHAPE, 5, 5, 5, 9);

        assertThat(rows).extracting(PackedRow::documentLengths).containsExactly(new int[] {8}, new int[] {8});
        assertThat(rows.get(0).ids()).containsExactly(0, 1, 2, 3, 4, 100, 101, 102);
        assertThat(rows.get(1).ids()).containsExactly(300, 301, 302, 303, 304, 305, 306, 307);
        assertThat(maker.leftOutTokens()).isEqualTo(7 + 1);
    }

    @Test
    void blocksBeginWithTheTokenThatTheTokenizerAdds() throws IOException {
        make(Packing.LLAMAFACTORY_BLOCKS, new RowMaker.Shape(8, 3, 99, 7), 16);

        assertThat(rows).extracting(row -> row.ids()[0]).containsExactly(7, 7);
        assertThat(rows.get(1).ids()[1]).isEqualTo(9);
    }

    @Test
    void mixedRowsAreNeatRowsThatSeeEachOther() throws IOException {
        make(Packing.LLAMAFACTORY_NEAT, SHAPE, 3, 6, 5, 2);
        List<PackedRow> neat = List.copyOf(rows);
        rows.clear();

        make(Packing.LLAMAFACTORY_MIXED, SHAPE, 3, 6, 5, 2);

        assertThat(rows)
                .extracting(PackedRow::ids)
                .containsExactlyElementsOf(neat.stream().map(PackedRow::ids).toList());
        assertThat(rows).extracting(PackedRow::attention).containsOnly(PackedRow.Attention.ROW);
        assertThat(neat).extracting(PackedRow::attention).containsOnly(PackedRow.Attention.DOCUMENT);
    }

    private RowMaker make(Packing packing, RowMaker.Shape shape, int... lengths) throws IOException {
        try (RowMaker maker = RowMaker.of(packing, shape, rows::add)) {
            for (int place = 0; place < lengths.length; place++) {
                maker.add(place, example(lengths[place], place));
            }
            maker.finish();
            return maker;
        }
    }

    /** Ids are 100 * number + position; the first token is not trained. */
    private static EncodedExample example(int length, int number) {
        int[] ids = IntStream.range(0, length).map(t -> 100 * number + t).toArray();
        int[] labels = ids.clone();
        labels[0] = PackedRow.IGNORE_INDEX;
        return new EncodedExample(ids, labels, false, length);
    }
}
