package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import ulysses.driver.dataset.DatasetEntry.Column;
import ulysses.driver.dataset.Example.Message;
import ulysses.driver.dataset.Example.Role;
import ulysses.runtime.data.DataException;

/** instruction, input, output; and history, chosen, rejected. */
record AlpacaMapping(DatasetEntry entry) implements RowMapping {
    @Override
    public Example map(JsonNode row) {
        RowMapping.refuseMedia(entry, row);
        List<Message> prompt = history(row);
        List<String> query = new ArrayList<>();
        for (Column column : List.of(Column.PROMPT, Column.QUERY)) {
            String part = RowMapping.optionalText(entry, column, row);
            if (!part.isEmpty()) {
                query.add(part);
            }
        }
        prompt.add(new Message(Role.USER, String.join("\n", query)));
        String system = RowMapping.optionalText(entry, Column.SYSTEM, row);
        String tools = RowMapping.optionalText(entry, Column.TOOLS, row);
        return entry.ranking() ? preference(row, prompt, system, tools) : supervised(row, prompt, system, tools);
    }

    private List<Message> history(JsonNode row) {
        List<Message> messages = new ArrayList<>();
        JsonNode history = RowMapping.value(entry, Column.HISTORY, row);
        for (JsonNode pair : history.isArray() ? history : List.<JsonNode>of()) {
            if (!pair.isArray() || pair.size() != 2) {
                throw new DataException(
                        "history holds %s; write pairs of question and answer".formatted(RowMapping.shown(pair)));
            }
            messages.add(new Message(Role.USER, RowMapping.text(pair.get(0), "a question in history")));
            messages.add(new Message(Role.ASSISTANT, RowMapping.text(pair.get(1), "an answer in history")));
        }
        return messages;
    }

    private Example preference(JsonNode row, List<Message> prompt, String system, String tools) {
        JsonNode chosen = RowMapping.value(entry, Column.CHOSEN, row);
        JsonNode rejected = RowMapping.value(entry, Column.REJECTED, row);
        if (!chosen.isTextual() || !rejected.isTextual()) {
            return new Example.Unusable("chosen or rejected is not text");
        }
        return new Example.Preference(
                prompt,
                new Message(Role.ASSISTANT, chosen.textValue()),
                new Message(Role.ASSISTANT, rejected.textValue()),
                system,
                tools);
    }

    private Example supervised(JsonNode row, List<Message> prompt, String system, String tools) {
        JsonNode response = RowMapping.value(entry, Column.RESPONSE, row);
        if (!response.isTextual()) {
            return new Example.PlainText(prompt.get(0).content());
        }
        prompt.add(new Message(Role.ASSISTANT, response.textValue()));
        return new Example.Conversation(prompt, system, tools);
    }
}
