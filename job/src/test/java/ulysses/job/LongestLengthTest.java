package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

final class LongestLengthTest {
    private static final long LIMIT = 20L << 30;

    /** Memory is a part that is always there and one for each token; lengths that would take the machine are not tried. */
    @ParameterizedTest(name = "{0} bytes and {1} a token, from {2}")
    @CsvSource({
        "400000000,200000,512,1",
        "400000000,200000,4096,2",
        "1000000000,3000000,1024,4",
        "0,1000,100000,1",
        "19000000000,100,64,2"
    })
    void isKnownWithinFivePercent(long always, long aToken, int first, int multiple)
            throws IOException, InterruptedException {
        List<Long> tried = new ArrayList<>();

        int longest = new LongestLength(LIMIT, first, multiple).find(length -> {
            tried.add((long) length);
            return always + aToken * length;
        });

        double exact = (double) (LIMIT - always) / aToken;
        assertThat(longest % multiple).isZero();
        assertThat((double) longest).isBetween(exact * 0.95 - multiple, exact);
        assertThat(tried).allMatch(length -> always + aToken * length <= 1.3 * LIMIT);
        assertThat(tried).doesNotHaveDuplicates().hasSizeLessThan(30);
    }

    @ParameterizedTest(name = "first length {0}")
    @CsvSource({"1024", "2"})
    void isNothingWhereTheFirstDoesNotFit(int first) throws IOException, InterruptedException {
        List<Integer> tried = new ArrayList<>();

        int longest = new LongestLength(LIMIT, first, 1).find(length -> {
            tried.add(length);
            return LIMIT + 1;
        });

        assertThat(longest).isZero();
        assertThat(tried).containsExactly(first);
    }
}
