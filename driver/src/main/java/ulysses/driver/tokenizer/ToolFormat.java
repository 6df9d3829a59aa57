package ulysses.driver.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import ulysses.driver.dataset.PythonJson;
import ulysses.runtime.data.DataException;

/** How tools are listed in the system text and how calls of them are written, per model family. */
public enum ToolFormat {
    DEFAULT,
    LLAMA3,
    QWEN,
    MISTRAL;

    /**
     * A call of a tool.
     *
     * @param name the tool
     * @param arguments any JSON value, an object as a rule
     */
    record Call(String name, JsonNode arguments) {}

    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

    private static final String DEFAULT_PROMPT = """
            You have access to the following tools:
            %sUse the following format if using a tool:
            ```
            Action: tool name (one of [%s])
            Action Input: the input to the tool, in a JSON format representing the kwargs \
            (e.g. ```{"input": "hello world", "num_beams": 5}```)
            ```
            """;

    private static final String LLAMA3_PROMPT = """
            Cutting Knowledge Date: December 2023
            Today Date: %s

            You have access to the following functions. To call a function, please respond with JSON for a function call. \
            Respond in the format {"name": function name, "parameters": dictionary of argument name and its value}. \
            Do not use variables.

            %s""";

    private static final String QWEN_PROMPT = """


            # Tools

            You may call one or more functions to assist with the user query.

            You are provided with function signatures within <tools></tools> XML tags:
            <tools>%s
            </tools>

            For each function call, return a json object with function name and arguments within \
            <tool_call></tool_call> XML tags:
            <tool_call>
            {"name": <function-name>, "arguments": <args-json-object>}
            </tool_call>""";

    /** The format of a name as templates and {@code tool_format} write it. */
    public static ToolFormat named(String name) {
        for (ToolFormat format : values()) {
            if (format.name().toLowerCase(Locale.ROOT).equals(name)) {
                return format;
            }
        }
        throw new IllegalArgumentException(
                "tool_format %s is not known; use default, llama3, qwen or mistral".formatted(name));
    }

    /**
     * What stands behind the system text; empty for an empty list.
     *
     * @param tools a JSON list of tools, bare or wrapped as {@code {"type": "function", "function": ...}}
     * @param date what llama3's prompt shows as today
     */
    String toolText(JsonNode tools, String date) {
        if (tools.isEmpty() && (tools.isContainerNode() || tools.asText().isEmpty()) && !tools.isNull()) {
            return "";
        }
        if (!tools.isArray()) {
            throw new DataException("tools is not a JSON list but %s; write [...]".formatted(shown(tools)));
        }
        return switch (this) {
            case DEFAULT -> defaultText(tools);
            case LLAMA3 ->
                LLAMA3_PROMPT.formatted(
                        date,
                        wrapped(tools).stream()
                                .map(tool -> PythonJson.writeIndented(tool) + "\n\n")
                                .collect(Collectors.joining()));
            case QWEN ->
                QWEN_PROMPT.formatted(wrapped(tools).stream()
                        .map(tool -> "\n" + PythonJson.write(tool))
                        .collect(Collectors.joining()));
            case MISTRAL ->
                "[AVAILABLE_TOOLS] " + PythonJson.write(NODES.arrayNode().addAll(wrapped(tools)))
                        + "[/AVAILABLE_TOOLS]";
        };
    }

    private static List<JsonNode> wrapped(JsonNode tools) {
        List<JsonNode> wrapped = new ArrayList<>();
        for (JsonNode tool : tools) {
            requireObject(tool, "tool");
            wrapped.add(
                    isWrapped(tool)
                            ? tool
                            : NODES.objectNode().put("type", "function").set("function", tool));
        }
        return wrapped;
    }

    private static boolean isWrapped(JsonNode tool) {
        return tool.path("type").asText().equals("function");
    }

    private static String defaultText(JsonNode tools) {
        StringBuilder text = new StringBuilder();
        List<String> names = new ArrayList<>();
        for (JsonNode tool : tools) {
            requireObject(tool, "tool");
            JsonNode function = isWrapped(tool) ? tool.path("function") : tool;
            String name = PythonJson.str(required(function, "name", "tool"));
            JsonNode parameters = required(function, "parameters", "tool " + name);
            text.append("> Tool Name: ").append(name).append("\nTool Description: ");
            text.append(optional(function, "description")).append("\nTool Args:\n");
            for (Map.Entry<String, JsonNode> parameter :
                    required(parameters, "properties", "tool " + name).properties()) {
                text.append(parameterText(parameter.getKey(), parameter.getValue(), parameters.path("required")));
            }
            text.append('\n');
            names.add(name);
        }
        return DEFAULT_PROMPT.formatted(text, String.join(", ", names));
    }

    private static String parameterText(String name, JsonNode parameter, JsonNode required) {
        requireObject(parameter, "parameter " + name);
        boolean isRequired = StreamSupport.stream(required.spliterator(), false)
                .anyMatch(other -> other.asText().equals(name));
        String choices = parameter.path("enum").isEmpty()
                ? ""
                : StreamSupport.stream(parameter.path("enum").spliterator(), false)
                        .map(PythonJson::str)
                        .collect(Collectors.joining(", ", ", should be one of [", "]"));
        String items = parameter.path("items").isEmpty()
                ? ""
                : ", where each item should be " + optional(parameter.path("items"), "type");
        return "  - %s (%s%s): %s%s%s\n"
                .formatted(
                        name,
                        optional(parameter, "type"),
                        isRequired ? ", required" : "",
                        optional(parameter, "description"),
                        choices,
                        items);
    }

    private static String optional(JsonNode object, String key) {
        JsonNode value = object.path(key);
        return value.isMissingNode() ? "" : PythonJson.str(value);
    }

    /** The answer that calls tools. */
    String callText(List<Call> calls) {
        return switch (this) {
            case DEFAULT ->
                calls.stream()
                        .map(call -> "Action: %s\nAction Input: %s"
                                .formatted(call.name(), PythonJson.write(call.arguments())))
                        .collect(Collectors.joining("\n"));
            case LLAMA3 -> {
                ArrayNode written = written(calls, "parameters");
                yield PythonJson.write(written.size() == 1 ? written.get(0) : written);
            }
            case QWEN ->
                StreamSupport.stream(written(calls, "arguments").spliterator(), false)
                        .map(call -> "<tool_call>\n" + PythonJson.write(call) + "\n</tool_call>")
                        .collect(Collectors.joining("\n"));
            case MISTRAL -> PythonJson.write(written(calls, "arguments"));
        };
    }

    private static ArrayNode written(List<Call> calls, String argumentsKey) {
        ArrayNode list = NODES.arrayNode();
        for (Call call : calls) {
            ObjectNode object = list.addObject();
            object.put("name", call.name());
            object.set(argumentsKey, call.arguments());
        }
        return list;
    }

    /** Calls as a message holds them: {@code {"name": ..., "arguments": ...}} or a list of them. */
    static List<Call> calls(JsonNode json) {
        List<Call> calls = new ArrayList<>();
        for (JsonNode call : json.isArray() ? json : NODES.arrayNode().add(json)) {
            requireObject(call, "function call");
            calls.add(new Call(
                    PythonJson.str(required(call, "name", "function call")),
                    required(call, "arguments", "function call")));
        }
        return calls;
    }

    private static void requireObject(JsonNode node, String what) {
        if (!node.isObject()) {
            throw new DataException("%s is not a JSON object but %s".formatted(what, shown(node)));
        }
    }

    private static JsonNode required(JsonNode object, String key, String what) {
        JsonNode value = object.path(key);
        if (value.isMissingNode()) {
            throw new DataException(
                    "%s has no \"%s\": %s; add it or use another tool_format".formatted(what, key, shown(object)));
        }
        return value;
    }

    private static String shown(JsonNode node) {
        String text = PythonJson.write(node);
        return text.length() <= 100 ? text : text.substring(0, 100) + "...";
    }
}
