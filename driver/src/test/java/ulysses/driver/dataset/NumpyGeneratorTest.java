package ulysses.driver.dataset;

import static org.assertj.core.api.Assertions.assertThat;

import org.junit.jupiter.api.Test;

class NumpyGeneratorTest {

    /** {@code numpy.random.default_rng(seed).random()}, as NumPy's documentation and users print it. */
    @Test
    void drawsTheNumbersOfNumpy() {
        NumpyGenerator zero = new NumpyGenerator(0);
        NumpyGenerator answer = new NumpyGenerator(42);

        assertThat(zero.nextDouble()).isEqualTo(0.6369616873214543);
        assertThat(zero.nextDouble()).isEqualTo(0.2697867137638703);
        assertThat(answer.nextDouble()).isEqualTo(0.7739560485559633);
        assertThat(answer.nextDouble()).isEqualTo(0.4388784397520523);
        assertThat(answer.nextDouble()).isEqualTo(0.8585979199113825);
    }
}
