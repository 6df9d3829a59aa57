package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import org.junit.jupiter.api.Test;

final class LossSpikeTest {

    private static ArrayNode history(double... losses) {
        ArrayNode history = JsonNodeFactory.instance.arrayNode();
        for (double loss : losses) {
            history.addObject().put("loss", loss);
            history.addObject().put("eval_loss", 100);
        }
        return history;
    }

    private static ArrayNode falling(int count) {
        double[] losses = new double[count];
        for (int i = 0; i < count; i++) {
            losses[i] = 4 - 0.05 * i + (i % 2 == 0 ? 0.02 : -0.02);
        }
        return history(losses);
    }

    @Test
    void aLeapIsMarkedAndTheWayDownIsNot() {
        assertThat(LossSpike.in(falling(30), 2.5)).isEmpty();
        assertThat(LossSpike.in(falling(30), 4.0)).isEmpty();
        assertThat(LossSpike.in(falling(30), 9.0).orElseThrow()).isBetween(2.8, 3.1);
        assertThat(LossSpike.in(falling(30), Double.NaN)).isEmpty();
    }

    @Test
    void aConstantLossThatMovesALittleIsNoSpike() {
        double[] same = new double[20];
        java.util.Arrays.fill(same, 1.0);

        assertThat(LossSpike.in(history(same), 1.01)).isEmpty();
        assertThat(LossSpike.in(history(same), 1.5)).hasValue(1.5);
    }

    @Test
    void fewLossesSayNothing() {
        assertThat(LossSpike.in(falling(9), 1e6)).isEmpty();
        assertThat(LossSpike.in(falling(10), 1e6)).isPresent();
    }

    @Test
    void spikesAreNoMeasureForOthers() {
        ArrayNode history = falling(20);
        history.addObject().put("loss", 1e9).put(LossSpike.NAME, 1e9);

        assertThat(LossSpike.in(history, 20)).isPresent();
    }
}
