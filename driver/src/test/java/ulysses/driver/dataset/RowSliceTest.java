package ulysses.driver.dataset;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Boundaries as {@code ReadInstruction.from_spec(..).to_absolute(..)} of datasets 4.0 gives them. */
final class RowSliceTest {

    @ParameterizedTest
    @CsvSource({
        "7, train, 0, 7",
        "7, train[:3], 0, 3",
        "7, train[2:5], 2, 5",
        "7, train[-2:], 5, 7",
        "7, train[:-2], 0, 5",
        "7, train[10%:50%], 1, 4",
        "7, train[:25%], 0, 2",
        "7, train[-30%:], 5, 7",
        "7, train[:100], 0, 7",
        "7, train[:90%], 0, 6",
        "10, train[-30%:], 7, 10",
        "25, train[10%:50%], 2, 12",
        "25, train[:90%], 0, 22",
        "25, train[-30%:], 17, 25",
        "25, train[50%:], 12, 25",
        "10, train[5:2], 5, 2"
    })
    void cutsAsDatasetsDoes(long rows, String split, long first, long end) {
        RowSlice slice = RowSlice.of(split).orElseThrow();

        assertThat(slice.first(rows)).isEqualTo(first);
        assertThat(slice.end(rows)).isEqualTo(end);
    }

    @ParameterizedTest
    @ValueSource(
            strings = {"test", "train[:200%]", "train[1]", "train[:1]+train[3:]", "train[:5](closest)", "train[a:]", ""
            })
    void otherFormsAreNotUnderstood(String split) {
        assertThat(RowSlice.of(split)).isEmpty();
    }
}
