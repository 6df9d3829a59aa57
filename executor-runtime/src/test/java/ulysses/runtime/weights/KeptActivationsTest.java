package ulysses.runtime.weights;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import ulysses.runtime.weights.KeptActivations.Strength;

/** D = 8, F = 16, N = 4, K = 2, H = 2, three layers; S = 64 over two ranks. */
final class KeptActivationsTest {

    private static final KeptActivations KEPT =
            new KeptActivations(ModelSpec.parse("""
            {"model_type": "llama", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 3,
             "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 32}""", "config.json"), 32, 64, 2, 1, 4);

    @Test
    void bytesOfEachStrength() {
        long attention = 64 * 2 * (2 * 4 + 4); // [S,n,H] and logsumexp
        long projections = 64 * (2 + 2) * 2 * 4; // q, k and v of the rank's heads
        long inside = 32 * (8 + 2 * 16) * 4 + 32 * 4 * 2 * 4; // [s,D], twice [s,F], [s,N,H]

        assertThat(KEPT.bytes(Strength.INPUT)).isZero();
        assertThat(KEPT.bytes(Strength.ATTENTION)).isEqualTo(attention);
        assertThat(KEPT.bytes(Strength.PROJECTIONS)).isEqualTo(attention + projections);
        assertThat(KEPT.bytes(Strength.EVERYTHING)).isEqualTo(attention + projections + inside);
    }

    @Test
    void aBudgetGoesToAttentionFirstAndToTheLastLayersFirst() {
        long attention = KEPT.bytesOfAll(Strength.ATTENTION);
        long step = KEPT.bytes(Strength.PROJECTIONS) - KEPT.bytes(Strength.ATTENTION);

        assertThat(KEPT.within(0)).isEqualTo(KEPT.all(Strength.INPUT));
        assertThat(KEPT.within(attention - 1)).containsExactly(Strength.INPUT, Strength.ATTENTION, Strength.ATTENTION);
        assertThat(KEPT.within(attention + step))
                .containsExactly(Strength.ATTENTION, Strength.ATTENTION, Strength.PROJECTIONS);
        assertThat(KEPT.within(KEPT.bytesOfAll(Strength.EVERYTHING))).isEqualTo(KEPT.all(Strength.EVERYTHING));
        assertThat(KEPT.within(Long.MAX_VALUE)).isEqualTo(KEPT.all(Strength.EVERYTHING));
    }

    @Test
    void neverMoreThanTheBudget() {
        for (long budget = 0; budget < KEPT.bytesOfAll(Strength.EVERYTHING); budget += 97) {
            List<Strength> strengths = KEPT.within(budget);

            assertThat(strengths.stream().mapToLong(KEPT::bytes).sum())
                    .isLessThanOrEqualTo(budget)
                    .isGreaterThan(budget - KEPT.bytes(Strength.EVERYTHING));
        }
    }
}
