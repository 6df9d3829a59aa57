package ulysses.driver.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.function.Function;
import java.util.stream.Collectors;
import ulysses.driver.dataset.PythonJson;
import ulysses.runtime.data.DataException;

/**
 * How tools are listed in the system text and how calls of them are written, per model family. What stands round the list is data:
 * tool-prompts.yaml.
 */
@SuppressWarnings("ImmutableEnumChecker") // the functions are references to static methods
public enum ToolFormat {
    DEFAULT(ToolList::described, ToolCalls::actions),
    GEMMA4(GemmaTools::list, GemmaTools::calls),
    GLM4(ToolList::chapters, ToolCalls::nameAndArguments),
    GLM4_MOE(tools -> ToolList.lines(ToolList.wrapped(tools), "\n", ""), ToolCalls::glmArguments),
    LFM2(tools -> ToolList.array(ToolList.unwrapped(tools)), ToolCalls::python),
    LING(tools -> ToolList.lines(ToolList.wrapped(tools), "\n", ""), ToolCalls::tagged),
    LLAMA3(tools -> ToolList.indented(ToolList.wrapped(tools)), ToolCalls::parameters),
    MINIMAX1(tools -> ToolList.lines(ToolList.unwrapped(tools), "", "\n"), ToolCalls::taggedTogether),
    MINIMAX2(tools -> ToolList.lines(ToolList.unwrapped(tools), "<tool>", "</tool>\n"), ToolCalls::invocations),
    MISTRAL(
            tools -> "[AVAILABLE_TOOLS] " + ToolList.array(ToolList.wrapped(tools)) + "[/AVAILABLE_TOOLS]",
            ToolCalls::array),
    QWEN(tools -> ToolList.lines(ToolList.wrapped(tools), "\n", ""), ToolCalls::tagged),
    QWEN3_5(tools -> ToolList.lines(ToolList.unwrapped(tools), "\n", ""), ToolCalls::qwenArguments),
    SEED_OSS(tools -> "\n" + PythonJson.write(tools), ToolCalls::seedArguments);

    /**
     * A call of a tool.
     *
     * @param name the tool
     * @param arguments any JSON value, an object as a rule
     */
    record Call(String name, JsonNode arguments) {}

    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

    private final Function<JsonNode, String> list;
    private final Function<List<Call>, String> calls;

    ToolFormat(Function<JsonNode, String> list, Function<List<Call>, String> calls) {
        this.list = list;
        this.calls = calls;
    }

    /**
     * The format of a name as templates and {@code tool_format} write it.
     *
     * @throws IllegalArgumentException for an unknown name
     */
    public static ToolFormat named(String name) {
        for (ToolFormat format : values()) {
            if (format.written().equals(name)) {
                return format;
            }
        }
        throw new IllegalArgumentException("tool_format %s is not known; use one of %s"
                .formatted(
                        name, Arrays.stream(values()).map(ToolFormat::written).collect(Collectors.joining(", "))));
    }

    private String written() {
        return name().toLowerCase(Locale.ROOT);
    }

    /**
     * What stands behind the system text; empty for an empty list.
     *
     * @param tools a JSON list of tools, bare or wrapped as {@code {"type": "function", "function": ...}}
     * @param date what a prompt shows as today
     */
    String toolText(JsonNode tools, String date) {
        if (tools.isEmpty() && (tools.isContainerNode() || tools.asText().isEmpty()) && !tools.isNull()) {
            return "";
        }
        if (!tools.isArray()) {
            throw new DataException("tools is not a JSON list but %s; write [...]".formatted(ToolList.shown(tools)));
        }
        String names = this == DEFAULT ? ToolList.names(tools) : "";
        return ToolPrompts.of(written())
                .replace("{{date}}", date)
                .replace("{{names}}", names)
                .replace("{{tools}}", list.apply(tools));
    }

    /** The answer that calls tools. */
    String callText(List<Call> written) {
        return calls.apply(written);
    }

    /** Calls as a message holds them: {@code {"name": ..., "arguments": ...}} or a list of them. */
    static List<Call> calls(JsonNode json) {
        List<Call> calls = new ArrayList<>();
        for (JsonNode call : json.isArray() ? json : NODES.arrayNode().add(json)) {
            ToolList.requireObject(call, "function call");
            calls.add(new Call(
                    PythonJson.str(ToolList.required(call, "name", "function call")),
                    ToolList.required(call, "arguments", "function call")));
        }
        return calls;
    }
}
