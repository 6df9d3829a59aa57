package ulysses.runtime.gradient;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class PhiloxTest {

    /** The known answers of Random123's kat_vectors for philox4x32, 10 rounds. */
    @ParameterizedTest
    @CsvSource({
        "00000000 00000000 00000000 00000000, 0000000000000000, 6627e8d5 e169c58d bc57ac4c 9b00dbd8",
        "ffffffff ffffffff ffffffff ffffffff, ffffffffffffffff, 408f276d 41c83b0e a20bc7c6 6d5451fd",
        "243f6a88 85a308d3 13198a2e 03707344, 299f31d0a4093822, d16cfe09 94fdcceb 5001e420 24126ea1"
    })
    void givesTheKnownAnswers(String counter, String key, String answer) {
        int[] words = Arrays.stream(counter.split(" "))
                .mapToInt(word -> Integer.parseUnsignedInt(word, 16))
                .toArray();

        Philox.block(words, Long.parseUnsignedLong(key, 16));

        assertThat(Arrays.stream(words).mapToObj("%08x"::formatted).collect(Collectors.joining(" ")))
                .isEqualTo(answer);
    }

    @Test
    void numbersAreNormal() {
        float[] numbers = normals(7, 3, 11, 0, 1_000_000);
        double mean = 0;
        double square = 0;
        double fourth = 0;
        for (float number : numbers) {
            mean += number / 1e6;
            square += (double) number * number / 1e6;
            fourth += Math.pow(number, 4) / 1e6;
        }

        assertThat(mean).isCloseTo(0, within(4e-3)); // four standard errors
        assertThat(square).isCloseTo(1, within(6e-3));
        assertThat(fourth).isCloseTo(3, within(0.04));
    }

    @Test
    void everyPlaceHasItsNumberWhereverDrawingBegins() {
        float[] whole = normals(7, 3, 11, 0, 50);

        assertThat(normals(7, 3, 11, 12, 30)).isEqualTo(Arrays.copyOfRange(whole, 12, 42));
        assertThat(normals(7, 4, 11, 0, 50)).isNotEqualTo(whole);
        assertThat(normals(7, 3, 12, 0, 50)).isNotEqualTo(whole);
        assertThat(normals(8, 3, 11, 0, 50)).isNotEqualTo(whole);
    }

    private static float[] normals(long key, int step, int stream, long first, int count) {
        float[] numbers = new float[count];
        Philox.normals(key, step, stream, first, numbers);
        return numbers;
    }
}
