package ulysses.runtime.config;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.StringJoiner;

/**
 * One value that the user gave.
 *
 * @param typed the key as the user typed it
 * @param value scalars are text nodes, exactly as typed; null, lists and mappings are themselves
 * @param origin where it stands: "train.yaml, line 3", "command line"
 */
record Setting(String typed, JsonNode value, String origin) {
    static final String SPARK_PREFIX = "spark.ulysses.";

    /** The key as the table spells it. */
    String key() {
        String name = typed.startsWith(SPARK_PREFIX) ? typed.substring(SPARK_PREFIX.length()) : typed;
        return name.replace('-', '_');
    }

    /** The origin without the line. */
    String source() {
        return origin.replaceFirst(", line [0-9]+$", "");
    }

    /** The value in one line. */
    String shown() {
        return shown(value);
    }

    /** A problem with this value, in the form of all problems. */
    String problem(String whatIsWrong) {
        return "%s %s %s (%s)".formatted(typed, shown(), whatIsWrong, origin);
    }

    static String shown(JsonNode value) {
        if (value.isArray()) {
            StringJoiner list = new StringJoiner(", ", "[", "]");
            value.forEach(element -> list.add(shown(element)));
            return list.toString();
        }
        if (value.isObject()) {
            StringJoiner mapping = new StringJoiner(", ", "{", "}");
            value.properties().forEach(entry -> mapping.add(entry.getKey() + ": " + shown(entry.getValue())));
            return mapping.toString();
        }
        return value.asText().isEmpty() ? "''" : value.asText();
    }
}
