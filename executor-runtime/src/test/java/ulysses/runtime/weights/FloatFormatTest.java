package ulysses.runtime.weights;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class FloatFormatTest {

    @Test
    void everyHalfComesBack() {
        for (int bits = 0; bits < 1 << 16; bits++) {
            float value = FloatFormat.halfToFloat((short) bits);
            if (!Float.isNaN(value)) {
                assertThat(FloatFormat.toHalf(value)).isEqualTo((short) bits);
            }
        }
    }

    @Test
    void roundsToTheNearestHalfTiesToEven() {
        Random random = new Random(3);
        for (int i = 0; i < 100_000; i++) {
            float value = (float) (random.nextGaussian() * Math.pow(2, random.nextInt(40) - 28));
            short half = FloatFormat.toHalf(value);
            float rounded = FloatFormat.halfToFloat(half);
            if (Float.isInfinite(rounded)) {
                assertThat(Math.abs(value)).isGreaterThanOrEqualTo(65520);
                continue;
            }
            double error = Math.abs((double) value - rounded);
            double above = Math.abs((double) value - FloatFormat.halfToFloat((short) (half + 1)));
            double below = (half & 0x7fff) == 0
                    ? Double.MAX_VALUE
                    : Math.abs((double) value - FloatFormat.halfToFloat((short) (half - 1)));
            assertThat(error).isLessThanOrEqualTo(Math.min(above, below));
            if (error == above || error == below) {
                assertThat(half & 1).isZero();
            }
        }
    }

    @ParameterizedTest
    @CsvSource({
        "65519.99, 65504",
        "65520, Infinity",
        "-70000, -Infinity",
        "2.9802322E-8, 0",
        "2.9802326E-8, 5.9604645E-8"
    })
    void edgesOfTheRangeOfHalves(float value, float expected) {
        assertThat(FloatFormat.rounded(DataType.F16, value)).isEqualTo(expected);
    }

    @Test
    void bfloat16RoundsToEven() {
        assertThat(FloatFormat.rounded(DataType.BF16, 1 + 0x1p-8f)).isEqualTo(1f);
        assertThat(FloatFormat.rounded(DataType.BF16, 1 + 0x3p-8f)).isEqualTo(1 + 0x1p-6f);
        assertThat(FloatFormat.rounded(DataType.F32, 1 + 0x1p-23f)).isEqualTo(1 + 0x1p-23f);
    }
}
