package ulysses.driver.plan;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.attention.HeadLayout;

class HeadShareTest {

    @ParameterizedTest(name = "{0} query and {1} kv heads")
    @CsvSource({"8,8", "8,2", "8,1", "6,2", "7,1", "14,2", "28,4", "9,3", "32,8"})
    void dealsHeadsAsTheRuntimeDoes(int queryHeads, int kvHeads) {
        for (int group = 1; group <= queryHeads; group++) {
            HeadLayout layout = new HeadLayout(queryHeads, kvHeads, group);
            HeadShare share = new HeadShare(queryHeads, kvHeads, group);

            assertThat(share.queries())
                    .isEqualTo(
                            IntStream.range(0, group).map(layout::queries).max().orElseThrow());
            assertThat(share.kvs())
                    .isEqualTo(IntStream.range(0, group).map(layout::kvs).max().orElseThrow());
            assertThat(share.packed())
                    .isEqualTo(IntStream.range(0, group).map(layout::packed).sum());
        }
    }
}
