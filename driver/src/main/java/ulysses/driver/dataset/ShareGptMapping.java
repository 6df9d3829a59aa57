package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import ulysses.driver.dataset.DatasetEntry.Column;
import ulysses.driver.dataset.DatasetEntry.Tag;
import ulysses.driver.dataset.Example.Message;
import ulysses.driver.dataset.Example.Role;

/** A list of messages with roles; a system message may lead, chosen and rejected may follow. */
record ShareGptMapping(DatasetEntry entry) implements RowMapping {

    @Override
    public Example map(JsonNode row) {
        RowMapping.refuseMedia(entry, row);
        MessageTags tags = new MessageTags(entry);
        JsonNode all = tags.messages(row);
        String system = RowMapping.optionalText(entry, Column.SYSTEM, row);
        String tools = RowMapping.optionalText(entry, Column.TOOLS, row);
        List<JsonNode> messages = new ArrayList<>();
        all.forEach(messages::add);
        if (!messages.isEmpty() && tags.is(Tag.SYSTEM_TAG, messages.get(0))) {
            system = tags.systemText(messages.remove(0));
        }
        List<Role> roles = new ArrayList<>();
        for (JsonNode message : messages) {
            Optional<Role> role = tags.role(tags.roleText(message));
            if (role.isEmpty() || RowMapping.isPrompt(role.get()) != (roles.size() % 2 == 0)) {
                return new Example.Unusable("roles do not alternate or are unknown");
            }
            roles.add(role.get());
        }
        List<Message> aligned = new ArrayList<>();
        for (int i = 0; i < roles.size(); i++) {
            aligned.add(tags.message(roles.get(i), messages.get(i), i));
        }
        return tags.example(row, aligned, system, tools);
    }
}
