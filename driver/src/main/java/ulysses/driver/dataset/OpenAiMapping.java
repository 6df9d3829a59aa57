package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.util.ArrayList;
import java.util.List;
import ulysses.driver.dataset.DatasetEntry.Column;
import ulysses.driver.dataset.DatasetEntry.Tag;
import ulysses.driver.dataset.Example.Message;
import ulysses.driver.dataset.Example.Role;
import ulysses.runtime.data.DataException;

/**
 * Messages as OpenAI's interface has them: {@code tool_calls} beside the content, results of tools in messages of their own. Like
 * LLaMA-Factory it adds {@code detailed thinking off} to the system text when there are no tools.
 */
record OpenAiMapping(DatasetEntry entry) implements RowMapping {

    private static final String BETWEEN_RESULTS = "\n</tool_response>\n<tool_response>\n";
    private static final String THINKING_OFF = "detailed thinking off";

    @Override
    public Example map(JsonNode row) {
        RowMapping.refuseMedia(entry, row);
        MessageTags tags = new MessageTags(entry);
        List<JsonNode> messages = new ArrayList<>();
        tags.messages(row).forEach(messages::add);
        String system = RowMapping.optionalText(entry, Column.SYSTEM, row);
        if (!messages.isEmpty() && tags.is(Tag.SYSTEM_TAG, messages.get(0))) {
            system = tags.systemText(messages.remove(0));
        }
        List<Message> aligned = new ArrayList<>();
        List<String> results = new ArrayList<>();
        for (int i = 0; i < messages.size(); i++) {
            JsonNode message = messages.get(i);
            if (tags.is(Tag.OBSERVATION_TAG, message)) {
                results.add(tags.message(Role.OBSERVATION, message, i).content());
                continue;
            }
            if (!results.isEmpty()) {
                aligned.add(new Message(Role.OBSERVATION, String.join(BETWEEN_RESULTS, results)));
                results.clear();
            }
            if (tags.is(Tag.SYSTEM_TAG, message)) {
                return new Example.Unusable("roles do not alternate or are unknown");
            }
            aligned.add(message(tags, message, i));
        }
        if (!RowMapping.alternates(aligned)) {
            return new Example.Unusable("roles do not alternate or are unknown");
        }
        String tools = tools(row);
        return tags.example(row, aligned, systemText(system, tools), tools);
    }

    private Message message(MessageTags tags, JsonNode message, int index) {
        boolean answers = tags.is(Tag.ASSISTANT_TAG, message) || tags.is(Tag.FUNCTION_TAG, message);
        JsonNode calls = answers ? message.path("tool_calls") : MissingNode.getInstance();
        if (!calls.isEmpty()) {
            ArrayNode functions = JsonNodeFactory.instance.arrayNode();
            calls.forEach(call -> functions.add(call.path("function")));
            return new Message(Role.FUNCTION, PythonJson.write(functions));
        }
        String written = tags.roleText(message);
        Role role = tags.role(written)
                .orElseThrow(() -> new DataException(
                        "role %s of message %d is not among the tags of dataset %s; name it in tags, for example %s"
                                .formatted(written, index, entry.name(), "\"observation_tag\": \"tool\"")));
        return tags.message(role, message, index);
    }

    /** Tools may be JSON text or a JSON value. */
    private String tools(JsonNode row) {
        JsonNode tools = RowMapping.value(entry, Column.TOOLS, row);
        return tools.isContainerNode() ? PythonJson.write(tools) : RowMapping.optionalText(entry, Column.TOOLS, row);
    }

    private static String systemText(String system, String tools) {
        if (system.isEmpty()) {
            return tools.isEmpty() ? THINKING_OFF : "";
        }
        if (!tools.isEmpty()) {
            return system + "\n";
        }
        boolean says = system.contains("detailed thinking on") || system.contains(THINKING_OFF);
        return says ? system : system + "\n" + THINKING_OFF;
    }
}
