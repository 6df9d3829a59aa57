package ulysses.driver.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import ulysses.driver.dataset.PythonJson;
import ulysses.runtime.data.DataException;

/** Lists of tools as the prompts of model families hold them. */
final class ToolList {
    private static final int SHOWN = 100;

    private ToolList() {}

    /** Each tool as {@code {"type": "function", "function": ...}}. */
    static List<JsonNode> wrapped(JsonNode tools) {
        return each(
                tools,
                tool -> isWrapped(tool)
                        ? tool
                        : JsonNodeFactory.instance
                                .objectNode()
                                .put("type", "function")
                                .set("function", tool));
    }

    /** Each tool without that. */
    static List<JsonNode> unwrapped(JsonNode tools) {
        return each(tools, tool -> isWrapped(tool) ? required(tool, "function", "tool") : tool);
    }

    private static List<JsonNode> each(JsonNode tools, UnaryOperator<JsonNode> change) {
        List<JsonNode> changed = new ArrayList<>();
        for (JsonNode tool : tools) {
            requireObject(tool, "tool");
            changed.add(change.apply(tool));
        }
        return changed;
    }

    private static boolean isWrapped(JsonNode tool) {
        return tool.path("type").asText().equals("function");
    }

    static String lines(List<JsonNode> tools, String before, String after) {
        return tools.stream()
                .map(tool -> before + PythonJson.write(tool) + after)
                .collect(Collectors.joining());
    }

    static String indented(List<JsonNode> tools) {
        return tools.stream()
                .map(tool -> PythonJson.writeIndented(tool) + "\n\n")
                .collect(Collectors.joining());
    }

    static String array(List<JsonNode> tools) {
        return PythonJson.write(JsonNodeFactory.instance.arrayNode().addAll(tools));
    }

    /** GLM-4's: a heading and the tool's JSON. */
    static String chapters(JsonNode tools) {
        return unwrapped(tools).stream()
                .map(tool -> "\n\n## %s\n\n%s\n\u5728\u8c03\u7528\u4e0a\u8ff0\u51fd\u6570\u65f6\uff0c"
                                .formatted(
                                        PythonJson.str(required(tool, "name", "tool")), PythonJson.writeIndented(tool))
                        + "\u8bf7\u4f7f\u7528 Json \u683c\u5f0f\u8868\u793a\u8c03\u7528\u7684\u53c2\u6570\u3002")
                .collect(Collectors.joining());
    }

    static String names(JsonNode tools) {
        return unwrapped(tools).stream()
                .map(tool -> PythonJson.str(required(tool, "name", "tool")))
                .collect(Collectors.joining(", "));
    }

    /** The default format's: name, description and arguments in words. */
    static String described(JsonNode tools) {
        StringBuilder text = new StringBuilder();
        for (JsonNode function : unwrapped(tools)) {
            String name = PythonJson.str(required(function, "name", "tool"));
            JsonNode parameters = required(function, "parameters", "tool " + name);
            text.append("> Tool Name: ").append(name).append("\nTool Description: ");
            text.append(optional(function, "description")).append("\nTool Args:\n");
            for (Map.Entry<String, JsonNode> parameter :
                    required(parameters, "properties", "tool " + name).properties()) {
                text.append(described(parameter.getKey(), parameter.getValue(), parameters.path("required")));
            }
            text.append('\n');
        }
        return text.toString();
    }

    private static String described(String name, JsonNode parameter, JsonNode required) {
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

    /** {@code str} of a value; nothing where it is absent. */
    static String optional(JsonNode object, String key) {
        JsonNode value = object.path(key);
        return value.isMissingNode() ? "" : PythonJson.str(value);
    }

    static JsonNode required(JsonNode object, String key, String what) {
        JsonNode value = object.path(key);
        if (value.isMissingNode()) {
            throw new DataException(
                    "%s has no \"%s\": %s; add it or use another tool_format".formatted(what, key, shown(object)));
        }
        return value;
    }

    static void requireObject(JsonNode node, String what) {
        if (!node.isObject()) {
            throw new DataException("%s is not a JSON object but %s".formatted(what, shown(node)));
        }
    }

    static String shown(JsonNode node) {
        String text = PythonJson.write(node);
        return text.length() <= SHOWN ? text : text.substring(0, SHOWN) + "...";
    }
}
