package ulysses.driver.launch;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.ObjectMapper;

/** Records as JSON, one line each: how driver, task and rank process talk. Unknown properties are for newer readers. */
final class JsonLines {
    private static final ObjectMapper MAPPER =
            new ObjectMapper().disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES);

    private JsonLines() {}

    static String write(Object value) {
        try {
            return MAPPER.writeValueAsString(value);
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException(
                    "can't write a " + value.getClass().getName() + " as JSON", e);
        }
    }

    /** Throws when {@code line} is not a {@code type}. */
    static <T> T read(String line, Class<T> type) throws JsonProcessingException {
        return MAPPER.readValue(line, type);
    }

    /** Reads what this program wrote itself. */
    static <T> T readOwn(String line, Class<T> type) {
        try {
            return read(line, type);
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException("not a " + type.getSimpleName() + ": " + line, e);
        }
    }
}
