package ulysses.driver.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.function.BiFunction;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import ulysses.driver.dataset.PythonJson;
import ulysses.driver.tokenizer.ToolFormat.Call;
import ulysses.runtime.data.DataException;

/** Calls of tools as the answers of model families write them. */
final class ToolCalls {
    private ToolCalls() {}

    static String actions(List<Call> calls) {
        return calls.stream()
                .map(call -> "Action: %s\nAction Input: %s".formatted(call.name(), PythonJson.write(call.arguments())))
                .collect(Collectors.joining("\n"));
    }

    static String nameAndArguments(List<Call> calls) {
        if (calls.size() != 1) {
            throw new DataException(
                    "tool_format glm4 writes one call but the message has %d; split it or use another tool_format"
                            .formatted(calls.size()));
        }
        return calls.get(0).name() + "\n" + PythonJson.write(calls.get(0).arguments());
    }

    /** One object, or a list of several. */
    static String parameters(List<Call> calls) {
        ArrayNode written = objects(calls, "parameters");
        return PythonJson.write(written.size() == 1 ? written.get(0) : written);
    }

    static String array(List<Call> calls) {
        return PythonJson.write(objects(calls, "arguments"));
    }

    static String tagged(List<Call> calls) {
        return lines(calls).stream()
                .map(call -> "<tool_call>\n" + call + "\n</tool_call>")
                .collect(Collectors.joining("\n"));
    }

    static String taggedTogether(List<Call> calls) {
        return "<tool_calls>\n" + String.join("\n", lines(calls)) + "\n</tool_calls>";
    }

    private static List<String> lines(List<Call> calls) {
        List<String> lines = new ArrayList<>();
        objects(calls, "arguments").forEach(call -> lines.add(PythonJson.write(call)));
        return lines;
    }

    private static ArrayNode objects(List<Call> calls, String argumentsKey) {
        ArrayNode list = JsonNodeFactory.instance.arrayNode();
        for (Call call : calls) {
            ObjectNode object = list.addObject();
            object.put("name", call.name());
            object.set(argumentsKey, call.arguments());
        }
        return list;
    }

    static String python(List<Call> calls) {
        return calls.stream()
                .map(call -> call.name()
                        + call.arguments().properties().stream()
                                .map(argument -> argument.getKey() + "="
                                        + (argument.getValue().isTextual()
                                                ? "\"" + argument.getValue().textValue() + "\""
                                                : PythonJson.write(argument.getValue())))
                                .collect(Collectors.joining(", ", "(", ")")))
                .collect(Collectors.joining(", ", "<|tool_call_start|>[", "]<|tool_call_end|>"));
    }

    static String invocations(List<Call> calls) {
        return argumentByArgument(
                calls,
                name -> "<invoke name=\"" + name + "\">",
                (key, value) -> "\n<parameter name=\"" + key + "\">" + value + "</parameter>",
                "\n</invoke>");
    }

    static String glmArguments(List<Call> calls) {
        return argumentByArgument(
                calls,
                name -> "\n<tool_call>" + name,
                (key, value) -> "\n<arg_key>" + key + "</arg_key>\n<arg_value>" + value + "</arg_value>",
                "");
    }

    static String qwenArguments(List<Call> calls) {
        return argumentByArgument(
                calls,
                name -> "<tool_call>\n<function=" + name + ">",
                (key, value) -> "\n<parameter=" + key + ">\n" + value + "\n</parameter>",
                "\n</function>\n</tool_call>");
    }

    /** LLaMA-Factory leaves out the closing bracket behind the name. */
    static String seedArguments(List<Call> calls) {
        return argumentByArgument(
                calls,
                name -> "\n<seed:tool_call>\n<function=" + name,
                (key, value) -> "\n<parameter=" + key + ">" + value + "</parameter>",
                "\n</function>\n</seed:tool_call>");
    }

    private static String argumentByArgument(
            List<Call> calls, UnaryOperator<String> begin, BiFunction<String, String, String> argument, String end) {
        return calls.stream()
                .map(call -> begin.apply(call.name())
                        + arguments(call).properties().stream()
                                .map(entry -> argument.apply(entry.getKey(), value(entry.getValue())))
                                .collect(Collectors.joining())
                        + end)
                .collect(Collectors.joining("\n"));
    }

    private static String value(JsonNode value) {
        return value.isTextual() ? value.textValue() : PythonJson.write(value);
    }

    private static JsonNode arguments(Call call) {
        ToolList.requireObject(call.arguments(), "\"arguments\" of the call of " + call.name());
        return call.arguments();
    }
}
