package ulysses.driver.packing;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TurnLengthsTest {

    /** Values of LLaMA-Factory's infer_seqlen; 100 * (58 / 200) is 28.999... in doubles. */
    @ParameterizedTest
    @CsvSource({
        "10, 10, 100, 10, 10",
        "500, 49, 100, 51, 49",
        "500, 50, 100, 91, 9",
        "49, 500, 100, 49, 51",
        "142, 58, 100, 72, 28",
        "200, 100, 90, 60, 30",
        "0, 500, 100, 0, 100",
        "500, 0, 100, 100, 0",
        "7, 5, 1, 1, 0"
    })
    void sharesTheBudget(int source, int target, int budget, int keptSource, int keptTarget) {
        assertThat(TurnLengths.of(source, target, budget)).isEqualTo(new TurnLengths(keptSource, keptTarget));
    }
}
