package ulysses.driver.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import java.util.stream.StreamSupport;
import ulysses.driver.dataset.PythonJson;
import ulysses.driver.tokenizer.ToolFormat.Call;

/** Gemma 4's own notation of tools and calls: no quotes round keys, texts between quote tokens. */
final class GemmaTools {
    private static final String QUOTE = "<|\"|>";

    private GemmaTools() {}

    static String list(JsonNode tools) {
        return ToolList.unwrapped(tools).stream().map(GemmaTools::declaration).collect(Collectors.joining("\n"));
    }

    private static String declaration(JsonNode function) {
        StringBuilder text = new StringBuilder("declaration:")
                .append(PythonJson.str(ToolList.required(function, "name", "tool")))
                .append("{description:")
                .append(quoted(ToolList.optional(function, "description")));
        JsonNode parameters = function.path("parameters");
        if (isTrue(parameters)) {
            text.append(",parameters:{").append(parameters(parameters)).append('}');
        }
        JsonNode response = function.path("response");
        if (isTrue(response)) {
            text.append(",response:{").append(response(response)).append('}');
        }
        return text.append('}').toString();
    }

    private static String parameters(JsonNode parameters) {
        List<String> parts = new ArrayList<>();
        if (isTrue(parameters.path("properties"))) {
            parts.add(parameters.path("properties").properties().stream()
                    .map(property -> property.getKey() + ":{" + property(property.getValue()) + "}")
                    .collect(Collectors.joining(",", "properties:{", "}")));
        }
        if (isTrue(parameters.path("required"))) {
            parts.add(StreamSupport.stream(parameters.path("required").spliterator(), false)
                    .map(item -> quoted(PythonJson.str(item)))
                    .collect(Collectors.joining(",", "required:[", "]")));
        }
        if (isTrue(parameters.path("type"))) {
            parts.add(type(parameters));
        }
        return String.join(",", parts);
    }

    private static String property(JsonNode schema) {
        List<String> parts = new ArrayList<>();
        if (isTrue(schema.path("description"))) {
            parts.add("description:" + quoted(PythonJson.str(schema.path("description"))));
        }
        if (isTrue(schema.path("type"))) {
            parts.add(type(schema));
        }
        return String.join(",", parts);
    }

    private static String response(JsonNode response) {
        List<String> parts = new ArrayList<>();
        if (isTrue(response.path("description"))) {
            parts.add("description:" + quoted(PythonJson.str(response.path("description"))));
        }
        if (ToolList.optional(response, "type").equalsIgnoreCase("object")) {
            parts.add(type(response));
        }
        return String.join(",", parts);
    }

    private static String type(JsonNode schema) {
        return "type:" + quoted(PythonJson.str(schema.path("type")).toUpperCase(Locale.ROOT));
    }

    /** What Python takes for true. */
    private static boolean isTrue(JsonNode value) {
        return value.isContainerNode()
                ? !value.isEmpty()
                : value.isTextual() ? !value.asText().isEmpty() : value.asBoolean();
    }

    private static String quoted(String text) {
        return QUOTE + text + QUOTE;
    }

    static String calls(List<Call> calls) {
        return calls.stream()
                .map(call -> "<|tool_call>call:" + call.name() + "{" + arguments(call.arguments()) + "}<tool_call|>")
                .collect(Collectors.joining());
    }

    private static String arguments(JsonNode arguments) {
        if (arguments.isTextual()) {
            return arguments.textValue();
        }
        return arguments.isObject() ? members(arguments) : value(arguments);
    }

    private static String members(JsonNode object) {
        return object.properties().stream()
                .sorted(java.util.Map.Entry.comparingByKey())
                .map(member -> member.getKey() + ":" + value(member.getValue()))
                .collect(Collectors.joining(","));
    }

    private static String value(JsonNode value) {
        if (value.isTextual()) {
            return quoted(value.textValue());
        }
        if (value.isObject()) {
            return "{" + members(value) + "}";
        }
        if (value.isArray()) {
            return StreamSupport.stream(value.spliterator(), false)
                    .map(GemmaTools::value)
                    .collect(Collectors.joining(",", "[", "]"));
        }
        return value.isBoolean() || value.isNull() ? value.asText() : PythonJson.str(value);
    }
}
