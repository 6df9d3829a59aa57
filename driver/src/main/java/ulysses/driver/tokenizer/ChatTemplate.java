package ulysses.driver.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.Serializable;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;
import ulysses.driver.dataset.NearestName;
import ulysses.runtime.config.ConfigException;

/**
 * How messages become text around which special tokens stand: one entry of templates.yaml, which documents the components.
 *
 * @param name its name there
 * @param prefix before everything
 * @param system system text and tools
 * @param user a question up to its answer
 * @param assistant an answer
 * @param function a tool call
 * @param observation what a tool returned
 * @param toolFormat how tools and calls are written
 * @param defaultSystem for rows without a system text
 * @param stopWords tokens that end an answer
 * @param replacesEos whether the first stop word becomes the end token
 * @param efficientEos one end token behind the last answer instead of one per answer
 * @param systemInUser whether the system text stands inside the first question
 * @param thinking whether answers may begin with a thought
 * @param thoughtWords what opens and closes a thought
 */
public record ChatTemplate(
        String name,
        List<SlotElement> prefix,
        List<SlotElement> system,
        List<SlotElement> user,
        List<SlotElement> assistant,
        List<SlotElement> function,
        List<SlotElement> observation,
        ToolFormat toolFormat,
        String defaultSystem,
        List<String> stopWords,
        boolean replacesEos,
        boolean efficientEos,
        boolean systemInUser,
        boolean thinking,
        List<String> thoughtWords)
        implements Serializable {

    private static final Map<String, ChatTemplate> TEMPLATES = load();

    private static Map<String, ChatTemplate> load() {
        try (InputStream yaml = Objects.requireNonNull(ChatTemplate.class.getResourceAsStream("templates.yaml"))) {
            Map<String, ChatTemplate> templates = new LinkedHashMap<>();
            new YAMLMapper()
                    .readTree(yaml)
                    .properties()
                    .forEach(entry -> templates.put(entry.getKey(), of(entry.getKey(), entry.getValue())));
            return templates;
        } catch (IOException damaged) {
            throw new UncheckedIOException("templates.yaml can't be read", damaged);
        }
    }

    private static ChatTemplate of(String name, JsonNode entry) {
        boolean efficientEos = entry.path("efficient_eos").asBoolean();
        List<SlotElement> user = elements(entry, "user", content());
        List<SlotElement> assistant = elements(entry, "assistant", answer(efficientEos));
        return new ChatTemplate(
                name,
                elements(entry, "prefix", List.of()),
                elements(entry, "system", content()),
                user,
                assistant,
                elements(entry, "function", assistant),
                elements(entry, "observation", user),
                ToolFormat.named(entry.path("tool_format").asText("default")),
                entry.path("default_system").asText(""),
                words(entry, "stop_words", List.of()),
                entry.path("replace_eos").asBoolean(),
                efficientEos,
                entry.path("system_in_user").asBoolean(),
                entry.path("thinking").asBoolean(),
                words(entry, "thought_words", List.of("<think>\n", "\n</think>\n\n")));
    }

    private static List<SlotElement> content() {
        return List.of(new SlotElement.Text("{{content}}"));
    }

    /** An answer where a template doesn't say. */
    static List<SlotElement> answer(boolean efficientEos) {
        return efficientEos ? content() : List.of(new SlotElement.Text("{{content}}"), new SlotElement.Eos());
    }

    private static List<SlotElement> elements(JsonNode entry, String key, List<SlotElement> absent) {
        if (!entry.has(key)) {
            return absent;
        }
        List<SlotElement> elements = new ArrayList<>();
        entry.path(key).forEach(element -> elements.add(SlotElement.of(element)));
        return List.copyOf(elements);
    }

    private static List<String> words(JsonNode entry, String key, List<String> absent) {
        return entry.has(key)
                ? StreamSupport.stream(entry.path(key).spliterator(), false)
                        .map(JsonNode::asText)
                        .toList()
                : absent;
    }

    /** All names, in the order of templates.yaml. */
    public static Set<String> names() {
        return TEMPLATES.keySet();
    }

    /**
     * The template of a name.
     *
     * @throws ConfigException for an unknown name, with the nearest known one
     */
    public static ChatTemplate named(@Nullable String name) {
        if (name == null) {
            throw refused(
                    "template is not set and the tokenizer's own chat template is not read; set template to one of "
                            + String.join(", ", names()));
        }
        ChatTemplate template = TEMPLATES.get(name);
        if (template == null) {
            throw refused("template %s is not known; did you mean %s? Known are %s"
                    .formatted(name, NearestName.of(name, names()), String.join(", ", names())));
        }
        return template;
    }

    private static ConfigException refused(String problem) {
        return new ConfigException("the data settings", List.of(problem));
    }
}
