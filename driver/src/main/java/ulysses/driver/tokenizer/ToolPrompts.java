package ulysses.driver.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.util.Objects;

/** The texts of tool-prompts.yaml, which documents them. */
final class ToolPrompts {
    private static final JsonNode PROMPTS = load();

    private ToolPrompts() {}

    private static JsonNode load() {
        try (InputStream yaml = Objects.requireNonNull(ToolPrompts.class.getResourceAsStream("tool-prompts.yaml"))) {
            return new YAMLMapper().readTree(yaml);
        } catch (IOException damaged) {
            throw new UncheckedIOException("tool-prompts.yaml can't be read", damaged);
        }
    }

    /** What stands round the list of tools; nothing for formats that have no text of their own. */
    static String of(String format) {
        return PROMPTS.path(format).asText("{{tools}}");
    }
}
