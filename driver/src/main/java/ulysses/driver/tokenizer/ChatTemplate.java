package ulysses.driver.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.StreamSupport;
import org.jspecify.annotations.Nullable;
import ulysses.driver.dataset.NearestName;

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
 * @param tools round the tools as the row has them; null where toolFormat writes them
 * @param toolFormat how tools and calls are written
 * @param defaultSystem for rows without a system text
 * @param stopWords tokens that end an answer
 * @param replacesEos whether the first stop word becomes the end token
 * @param efficientEos one end token behind the last answer instead of one per answer
 * @param systemInUser whether the system text stands inside the first question
 * @param thinking whether answers may begin with a thought
 * @param thoughtWords what opens and closes a thought
 * @param emptyThought what is put in where there is no thought
 * @param toolCallWords what a call in a row may stand between
 */
public record ChatTemplate(
        String name,
        List<SlotElement> prefix,
        List<SlotElement> system,
        List<SlotElement> user,
        List<SlotElement> assistant,
        List<SlotElement> function,
        List<SlotElement> observation,
        SlotElement.@Nullable Text tools,
        ToolFormat toolFormat,
        String defaultSystem,
        List<String> stopWords,
        boolean replacesEos,
        boolean efficientEos,
        boolean systemInUser,
        boolean thinking,
        List<String> thoughtWords,
        String emptyThought,
        List<String> toolCallWords)
        implements Serializable {

    static final List<String> THOUGHT_WORDS = List.of("<think>\n", "\n</think>\n\n");
    static final List<String> TOOL_CALL_WORDS = List.of("<tool_call>", "</tool_call>");

    private static final Set<String> KEYS = Set.of(
            "prefix",
            "system",
            "user",
            "assistant",
            "function",
            "observation",
            "tools",
            "tool_format",
            "default_system",
            "stop_words",
            "replace_eos",
            "efficient_eos",
            "system_in_user",
            "thinking",
            "thought_words",
            "empty_thought_closes_only",
            "tool_call_words");

    public ChatTemplate {
        if (replacesEos && stopWords.isEmpty()) {
            throw new IllegalArgumentException("replace_eos needs stop_words; name the token that ends an answer");
        }
        if (thoughtWords.size() != 2 || toolCallWords.size() != 2) {
            throw new IllegalArgumentException("thought_words and tool_call_words are two texts each");
        }
    }

    /**
     * An entry of a file of templates.
     *
     * @throws IllegalArgumentException for an unknown key or a value that is none
     */
    static ChatTemplate of(String name, JsonNode entry) {
        refuseUnknownKeys(entry);
        boolean efficientEos = entry.path("efficient_eos").asBoolean();
        List<SlotElement> user = elements(entry, "user", content());
        List<SlotElement> assistant = elements(entry, "assistant", answer(efficientEos));
        List<String> thoughtWords = words(entry, "thought_words", THOUGHT_WORDS);
        boolean closesOnly = entry.path("empty_thought_closes_only").asBoolean();
        return new ChatTemplate(
                name,
                elements(entry, "prefix", List.of()),
                elements(entry, "system", content()),
                user,
                assistant,
                elements(entry, "function", assistant),
                elements(entry, "observation", user),
                entry.path("tools").isTextual()
                        ? new SlotElement.Text(entry.path("tools").textValue())
                        : null,
                ToolFormat.named(entry.path("tool_format").asText("default")),
                entry.path("default_system").asText(""),
                words(entry, "stop_words", List.of()),
                entry.path("replace_eos").asBoolean(),
                efficientEos,
                entry.path("system_in_user").asBoolean(),
                entry.path("thinking").asBoolean(),
                thoughtWords,
                closesOnly && !thoughtWords.isEmpty()
                        ? thoughtWords.get(thoughtWords.size() - 1)
                        : String.join("", thoughtWords),
                words(entry, "tool_call_words", TOOL_CALL_WORDS));
    }

    private static void refuseUnknownKeys(JsonNode entry) {
        Set<String> unknown = new TreeSet<>();
        entry.fieldNames().forEachRemaining(unknown::add);
        unknown.removeAll(KEYS);
        if (!unknown.isEmpty()) {
            String first = unknown.iterator().next();
            throw new IllegalArgumentException(
                    "key %s is not known; did you mean %s?".formatted(first, NearestName.of(first, KEYS)));
        }
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
        if (!entry.path(key).isArray()) {
            throw new IllegalArgumentException("%s is no list; write [\"...\"]".formatted(key));
        }
        List<SlotElement> elements = new ArrayList<>();
        entry.path(key).forEach(element -> elements.add(SlotElement.of(element)));
        boolean holdsContent = key.equals("prefix")
                || elements.stream()
                        .anyMatch(element -> element instanceof SlotElement.Text text
                                && text.text().contains("{{content}}"));
        if (!holdsContent) {
            throw new IllegalArgumentException("%s holds no {{content}}; say where the text goes".formatted(key));
        }
        return List.copyOf(elements);
    }

    private static List<String> words(JsonNode entry, String key, List<String> absent) {
        return entry.has(key)
                ? StreamSupport.stream(entry.path(key).spliterator(), false)
                        .map(JsonNode::asText)
                        .toList()
                : absent;
    }
}
