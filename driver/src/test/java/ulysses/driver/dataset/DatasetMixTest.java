package ulysses.driver.dataset;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import ulysses.runtime.data.DataException;

class DatasetMixTest {

    /** The mix written out: a letter for the dataset, a digit for its row. */
    private static String mix(String strategy, List<Double> probabilities, long... lengths) {
        List<DatasetMix.Draws> draws = DatasetMix.of(strategy, lengths, probabilities, 42);
        TreeMap<Long, String> rows = new TreeMap<>();
        for (int dataset = 0; dataset < lengths.length; dataset++) {
            for (long draw = 0; draw < draws.get(dataset).count(); draw++) {
                rows.put(
                        draws.get(dataset).rowNumber(draw),
                        (char) ('a' + dataset) + Long.toString(draw % lengths[dataset]));
            }
        }
        assertThat(new ArrayList<>(rows.keySet()))
                .isEqualTo(java.util.stream.LongStream.range(0, rows.size())
                        .boxed()
                        .toList());
        return String.join(" ", rows.values());
    }

    @Test
    void concatenatesInOrder() {
        assertThat(mix("concat", List.of(), 3, 1, 2)).isEqualTo("a0 a1 a2 b0 c0 c1");
    }

    @Test
    void stopsWithTheShortestUnder() {
        assertThat(mix("interleave_under", List.of(), 3, 2)).isEqualTo("a0 b0 a1 b1");
    }

    @Test
    void repeatsTheShorterOver() {
        assertThat(mix("interleave_over", List.of(), 3, 2)).isEqualTo("a0 b0 a1 b1 a2 b0");
    }

    @Test
    void leavesTheShorterOutOnce() {
        assertThat(mix("interleave_once", List.of(), 3, 1, 2)).isEqualTo("a0 b0 c0 a1 c1 a2");
    }

    /** default_rng(42) draws 0.77, 0.44, 0.86, 0.70, 0.09, 0.98, ... */
    @Test
    void drawsWithProbabilitiesAsDatasetsDoes() {
        assertThat(mix("interleave_under", List.of(0.5, 0.5), 3, 3)).isEqualTo("b0 a0 b1 b2");
        assertThat(mix("interleave_over", List.of(0.5, 0.5), 2, 2)).isEqualTo("b0 a0 b1 b0 a1");
        assertThat(mix("interleave_once", List.of(0.5, 0.5), 2, 2)).isEqualTo("b0 a0 b1 a1");
    }

    @Test
    void refusesAnUnknownStrategy() {
        assertThatThrownBy(() -> mix("interleave", List.of(), 3, 3))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("mix_strategy interleave is not known");
    }
}
