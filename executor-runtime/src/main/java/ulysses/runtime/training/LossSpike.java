package ulysses.runtime.training;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;

/** A logged loss far above those before it. Depends on the log alone, so a resumed run marks what an uninterrupted one marks. */
final class LossSpike {
    /** What the log calls it: the loss over the mean of those before. */
    static final String NAME = "loss_spike";

    /** Logged losses that are looked back on; chosen, not tuned. */
    static final int WINDOW = 20;

    private static final int FEWEST = 10;
    private static final double DEVIATIONS = 6; // chosen, not tuned
    private static final double TIMES =
            1.25; // chosen, not tuned: a loss that hardly moves has no deviation to speak of

    private LossSpike() {}

    /** How many times the mean {@code loss} is, if that makes it a spike behind {@code history}; spikes there don't count. */
    static OptionalDouble in(ArrayNode history, double loss) {
        List<Double> before = new ArrayList<>();
        for (int i = history.size() - 1; i >= 0 && before.size() < WINDOW; i--) {
            JsonNode entry = history.get(i);
            if (entry.has("loss") && !entry.has(NAME)) {
                before.add(entry.path("loss").asDouble());
            }
        }
        double mean = before.stream().mapToDouble(x -> x).average().orElse(0);
        double variance = before.stream()
                .mapToDouble(x -> (x - mean) * (x - mean))
                .average()
                .orElse(0);
        boolean spike =
                before.size() >= FEWEST && loss > mean + DEVIATIONS * Math.sqrt(variance) && loss > TIMES * mean;
        return spike && mean > 0 ? OptionalDouble.of(loss / mean) : OptionalDouble.empty();
    }
}
