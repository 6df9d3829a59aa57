package ulysses.runtime.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.stream.LongStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;

/** What is dropped depends on seed, token, module and feature, and on nothing else. */
final class AdapterDropoutTest {

    private static final int FEATURES = 300;

    @Test
    void dropsTheShareAndScalesTheRest() {
        double[] kept = dropped(0.1, 7, LongStream.range(0, 2000).toArray(), "q_proj");

        assertThat(Arrays.stream(kept).filter(x -> x == 0).count() / (double) kept.length)
                .isCloseTo(0.1, within(2e-3)); // six standard deviations
        assertThat(Arrays.stream(kept).filter(x -> x != 0)).allMatch(x -> Math.abs(x - 1 / 0.9) < 1e-6);
        for (int feature = 0; feature < FEATURES; feature++) {
            double sum = 0;
            for (int token = 0; token < 2000; token++) {
                sum += kept[token * FEATURES + feature] == 0 ? 1 : 0;
            }
            assertThat(sum / 2000).as("feature " + feature).isCloseTo(0.1, within(0.04));
        }
    }

    @Test
    void anyPartOfTheTokensDropsTheSame() {
        long[] tokens = LongStream.range(0, 64).map(t -> (t % 3) << 32 | t).toArray();
        double[] whole = dropped(0.5, 7, tokens, "q_proj");

        double[] part = dropped(0.5, 7, Arrays.copyOfRange(tokens, 20, 50), "q_proj");

        assertThat(part).isEqualTo(Arrays.copyOfRange(whole, 20 * FEATURES, 50 * FEATURES));
    }

    @Test
    void anotherSeedTokenOrModuleDropsAnew() {
        long[] tokens = LongStream.range(0, 64).toArray();
        double[] one = dropped(0.5, 7, tokens, "q_proj");

        assertThat(agreement(one, dropped(0.5, 8, tokens, "q_proj"))).isCloseTo(0.5, within(0.02));
        assertThat(agreement(one, dropped(0.5, 7, tokens, "k_proj"))).isCloseTo(0.5, within(0.02));
        assertThat(agreement(
                        one,
                        dropped(
                                0.5,
                                7,
                                LongStream.of(tokens).map(t -> t + (1L << 32)).toArray(),
                                "q_proj")))
                .isCloseTo(0.5, within(0.02));
        assertThat(dropped(0.5, 7, tokens, "q_proj")).isEqualTo(one);
    }

    @Test
    void offGivesItsInputItself() {
        try (TensorScope scope = TensorScope.open()) {
            Tensor x = torch.ones(new long[] {2, 3}, new TensorOptions());

            assertThat(AdapterDropout.OFF.apply(x, "q_proj")).isSameAs(x);
        }
    }

    private static double agreement(double[] a, double[] b) {
        int same = 0;
        for (int i = 0; i < a.length; i++) {
            same += a[i] == b[i] ? 1 : 0;
        }
        return same / (double) a.length;
    }

    private static double[] dropped(double rate, long seed, long[] tokens, String module) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor ones = torch.ones(new long[] {tokens.length, FEATURES}, new TensorOptions());
            return TensorArrays.values(new AdapterDropout(rate, seed, tokens).apply(ones.mul(new Scalar(1.0)), module));
        }
    }
}
