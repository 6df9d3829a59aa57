package ulysses.runtime.training;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.PrettyPrinter;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.core.json.JsonWriteFeature;
import com.fasterxml.jackson.core.util.DefaultIndenter;
import com.fasterxml.jackson.core.util.DefaultPrettyPrinter;
import com.fasterxml.jackson.core.util.Separators;
import com.fasterxml.jackson.core.util.Separators.Spacing;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.math.BigDecimal;
import java.math.RoundingMode;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.Map;
import ulysses.runtime.weights.StorageException;

/** JSON as Python's json module writes and reads it: a space after each colon and comma, bare NaN and Infinity. */
final class TrainerJson {
    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .disable(JsonWriteFeature.WRITE_NAN_AS_STRINGS)
            .enable(SerializationFeature.ORDER_MAP_ENTRIES_BY_KEYS)
            .build();
    private static final Separators SEPARATORS = Separators.createDefaultInstance()
            .withObjectFieldValueSpacing(Spacing.AFTER)
            .withObjectEntrySpacing(Spacing.NONE);

    private TrainerJson() {}

    /** {@code json.dumps(node)}. */
    static String line(ObjectNode node) {
        DefaultPrettyPrinter.NopIndenter none = DefaultPrettyPrinter.NopIndenter.instance;
        return write(
                node,
                new DefaultPrettyPrinter(SEPARATORS.withObjectEntrySpacing(Spacing.AFTER))
                        .withObjectIndenter(none)
                        .withArrayIndenter(none));
    }

    /** {@code json.dumps(node, indent=spaces, sort_keys=True)} */
    static String pretty(ObjectNode node, int spaces) {
        DefaultIndenter indenter = new DefaultIndenter(" ".repeat(spaces), "\n");
        return write(
                sorted(node),
                new DefaultPrettyPrinter(SEPARATORS)
                        .withObjectIndenter(indenter)
                        .withArrayIndenter(indenter));
    }

    private static JsonNode sorted(JsonNode node) {
        if (node.isArray()) {
            var array = JsonNodeFactory.instance.arrayNode();
            node.forEach(element -> array.add(sorted(element)));
            return array;
        }
        if (!node.isObject()) {
            return node;
        }
        ObjectNode object = JsonNodeFactory.instance.objectNode();
        node.properties().stream()
                .sorted(Map.Entry.comparingByKey())
                .forEach(entry -> object.set(entry.getKey(), sorted(entry.getValue())));
        return object;
    }

    private static String write(JsonNode node, PrettyPrinter printer) {
        try {
            return JSON.writer(printer).writeValueAsString(node);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a tree of names and numbers can always be written", e);
        }
    }

    static ObjectNode parse(String json) {
        try {
            if (JSON.readTree(json) instanceof ObjectNode object) {
                return object;
            }
        } catch (JsonProcessingException e) {
            throw new StorageException(
                    "a trainer state is damaged: %s; use the checkpoint before it".formatted(e.getOriginalMessage()),
                    e);
        }
        throw new StorageException("a trainer state is damaged: it is no JSON object; use the checkpoint before it");
    }

    /** The lines of a log up to {@code step}; a line that was cut off is dropped. */
    static byte[] linesUpTo(String log, long step) {
        StringBuilder kept = new StringBuilder();
        for (String line : log.lines().toList()) {
            try {
                JsonNode node = JSON.readTree(line);
                if (node.path("current_steps").asLong(Long.MAX_VALUE) <= step) {
                    kept.append(line).append('\n');
                }
            } catch (JsonProcessingException e) {
                break; // Only the end of a file can be cut off.
            }
        }
        return bytes(kept.toString());
    }

    /** The numbers of {@code node} by name, in its order. */
    static Map<String, Double> numbers(ObjectNode node) {
        Map<String, Double> numbers = new LinkedHashMap<>();
        node.properties().forEach(field -> {
            if (field.getValue().isNumber()) {
                numbers.put(field.getKey(), field.getValue().doubleValue());
            }
        });
        return numbers;
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    /** Python's {@code round(value, digits)}: half to even on the exact value. */
    static double round(double value, int digits) {
        return Double.isFinite(value)
                ? new BigDecimal(value).setScale(digits, RoundingMode.HALF_EVEN).doubleValue()
                : value;
    }

    static double rate(long count, double seconds) {
        return seconds == 0 ? 0 : round(count / seconds, 3);
    }

    /** Python's {@code str(timedelta(seconds=int(seconds)))}. */
    static String time(double seconds) {
        long whole = (long) seconds;
        long days = whole / 86_400;
        String clock = "%d:%02d:%02d".formatted(whole / 3600 % 24, whole / 60 % 60, whole % 60);
        if (days == 0) {
            return clock;
        }
        return days == 1 ? "1 day, " + clock : days + " days, " + clock;
    }
}
