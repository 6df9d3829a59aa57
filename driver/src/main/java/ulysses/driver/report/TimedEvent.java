package ulysses.driver.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.time.DateTimeException;
import java.time.Instant;
import java.util.Optional;
import ulysses.runtime.mesh.RankEvent;

/**
 * A line of {@code run_events.jsonl}: what a rank reported, and when the driver heard it.
 *
 * @param time by the driver's clock
 */
public record TimedEvent(Instant time, RankEvent event) {
    private static final ObjectMapper JSON =
            new ObjectMapper().disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);
    private static final String TIME = "time";

    String toLine() {
        ObjectNode line = JSON.createObjectNode().put(TIME, time.toString());
        return line.setAll(JSON.<ObjectNode>valueToTree(event)).toString();
    }

    /** Empty for a line that was cut off, or that a newer release wrote. */
    static Optional<TimedEvent> parse(String line) {
        try {
            if (JSON.readTree(line) instanceof ObjectNode fields && fields.remove(TIME) instanceof TextNode time) {
                return Optional.of(
                        new TimedEvent(Instant.parse(time.textValue()), JSON.treeToValue(fields, RankEvent.class)));
            }
        } catch (JsonProcessingException | DateTimeException e) {
            return Optional.empty();
        }
        return Optional.empty();
    }
}
