package ulysses.driver.packing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.Arrays;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class NumpyPermutationTest {

    /** split.json of the recorded run sft-eval-qwen2: 160 rows, seed 42, the first 16 are validation. */
    @Test
    void isTheSplitThatLlamaFactoryMade() throws IOException {
        JsonNode split = json("split.json");
        int[] validation = numbers(split.path("validation"));
        int[] train = numbers(split.path("train"));

        int[] permutation = NumpyPermutation.of(42, 160);

        assertThat(Arrays.copyOf(permutation, 16)).isEqualTo(validation);
        assertThat(Arrays.copyOfRange(permutation, 16, 160)).isEqualTo(train);
    }

    /** Recorded from numpy 2.4.6. */
    @Test
    void isNumpysForOtherSeedsAndSizes() throws IOException {
        JsonNode recorded = json("permutations.json");
        for (JsonNode one : recorded) {
            int[] permutation =
                    NumpyPermutation.of(one.path("seed").asLong(), one.path("n").asInt());

            assertThat(Arrays.copyOf(permutation, Math.min(permutation.length, 20)))
                    .as("seed %s, n %s", one.path("seed"), one.path("n"))
                    .isEqualTo(numbers(one.path("first")));
            long weighted = IntStream.range(0, permutation.length)
                    .mapToLong(i -> (i + 1L) * permutation[i])
                    .sum();
            assertThat(weighted).isEqualTo(one.path("weighted_sum").asLong());
        }
    }

    @Test
    void refusesNegativeSeeds() {
        assertThatThrownBy(() -> NumpyPermutation.of(-1, 5)).hasMessage("seed -1 is negative; numpy takes 0 or more");
    }

    private static JsonNode json(String name) throws IOException {
        try (InputStream in = NumpyPermutationTest.class.getResourceAsStream(name)) {
            return new ObjectMapper().readTree(in);
        }
    }

    private static int[] numbers(JsonNode array) {
        return IntStream.range(0, array.size()).map(i -> array.get(i).asInt()).toArray();
    }
}
