package ulysses.runtime.gradient;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.memory.TensorScope;

final class WideSumTest {

    @ParameterizedTest(name = "{0} elements")
    @ValueSource(longs = {0, 1, 5, WideSum.PIECE_ELEMENTS, WideSum.PIECE_ELEMENTS + 1, 3 * WideSum.PIECE_ELEMENTS - 7})
    void everyElementOfEveryPieceCountsOnce(long elements) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor values = torch.full(new long[] {elements}, new Scalar(-0.5));

            assertThat(WideSum.ofSquares(values)).isCloseTo(0.25 * elements, within(1e-6));
            assertThat(WideSum.ofAbsolutes(values)).isCloseTo(0.5 * elements, within(1e-6));
        }
    }

    /** In float32 2^24 + 1 is 2^24: what is added there is lost. */
    @Test
    void sumsInFloat64() {
        try (TensorScope scope = TensorScope.open()) {
            Tensor values = torch.ones(new long[] {2, 3});
            values.select(0, 1).select(0, 2).fill_(new Scalar((double) (1 << 24)));

            assertThat(WideSum.ofAbsolutes(values)).isEqualTo((1 << 24) + 5.0);
        }
    }

    @Test
    void takesWhatIsNotInOnePieceOfMemory() {
        try (TensorScope scope = TensorScope.open()) {
            Tensor values = torch.arange(new Scalar(6.0)).reshape(2, 3).t().to(ScalarType.BFloat16);

            assertThat(WideSum.ofSquares(values)).isCloseTo(55, within(1e-9));
        }
    }
}
