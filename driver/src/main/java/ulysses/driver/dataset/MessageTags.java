package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.io.Serializable;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import ulysses.driver.dataset.DatasetEntry.Column;
import ulysses.driver.dataset.DatasetEntry.Tag;
import ulysses.driver.dataset.Example.Message;
import ulysses.driver.dataset.Example.Role;
import ulysses.runtime.data.DataException;

/** How the messages of a dataset name their roles and fields. */
record MessageTags(DatasetEntry entry) implements Serializable {

    private static final Map<Tag, Role> ROLES = roles();

    private static Map<Tag, Role> roles() {
        Map<Tag, Role> roles = new LinkedHashMap<>();
        roles.put(Tag.USER_TAG, Role.USER);
        roles.put(Tag.ASSISTANT_TAG, Role.ASSISTANT);
        roles.put(Tag.OBSERVATION_TAG, Role.OBSERVATION);
        roles.put(Tag.FUNCTION_TAG, Role.FUNCTION);
        return roles;
    }

    /** What stands in the role field of a message. */
    String roleText(JsonNode message) {
        return field(message, Tag.ROLE_TAG).asText("");
    }

    /** What stands in the content field of a message. */
    JsonNode content(JsonNode message) {
        return field(message, Tag.CONTENT_TAG);
    }

    private JsonNode field(JsonNode message, Tag tag) {
        return entry.tag(tag).map(message::path).orElse(MissingNode.getInstance());
    }

    /** Whether a message is written by {@code tag}. */
    boolean is(Tag tag, JsonNode message) {
        return entry.tag(tag).filter(roleText(message)::equals).isPresent();
    }

    /** The role a message has; of two tags written alike the later counts. Empty for system and unknown roles. */
    Optional<Role> role(String text) {
        Role found = null;
        for (Map.Entry<Tag, Role> role : ROLES.entrySet()) {
            if (entry.tag(role.getKey()).filter(text::equals).isPresent()) {
                found = role.getValue();
            }
        }
        return Optional.ofNullable(found);
    }

    /** A message with a role that is known. */
    Message message(Role role, JsonNode message, int index) {
        JsonNode content = content(message);
        if (!content.isTextual()) {
            throw new DataException("%s of message %d is not text but %s; only text is trained"
                    .formatted(entry.tag(Tag.CONTENT_TAG).orElse("content"), index, RowMapping.shown(content)));
        }
        return new Message(role, content.textValue());
    }

    /** A list of messages, as the column holds it. */
    JsonNode messages(JsonNode row) {
        JsonNode messages = RowMapping.value(entry, Column.MESSAGES, row);
        if (!messages.isArray()) {
            throw new DataException("column %s is not a list of messages but %s"
                    .formatted(entry.column(Column.MESSAGES).orElse("(none named)"), RowMapping.shown(messages)));
        }
        return messages;
    }

    /** The text of a leading system message; absent is empty. */
    String systemText(JsonNode message) {
        JsonNode content = content(message);
        return content.isNull() || content.isMissingNode() ? "" : RowMapping.text(content, "the system message");
    }

    /** What alternating messages mean: pairs, or for a ranking a prompt whose answers stand in columns of their own. */
    Example example(JsonNode row, List<Message> messages, String system, String tools) {
        if (messages.isEmpty()) {
            return new Example.Unusable("no messages");
        }
        if (messages.size() % 2 != (entry.ranking() ? 1 : 0)) {
            return new Example.Unusable("wrong number of messages");
        }
        if (!entry.ranking()) {
            return new Example.Conversation(messages, system, tools);
        }
        Optional<Message> chosen = answer(RowMapping.value(entry, Column.CHOSEN, row));
        Optional<Message> rejected = answer(RowMapping.value(entry, Column.REJECTED, row));
        return chosen.isPresent() && rejected.isPresent()
                ? new Example.Preference(messages, chosen.get(), rejected.get(), system, tools)
                : new Example.Unusable("chosen or rejected is not an answer");
    }

    /** The answer in column chosen or rejected; empty where it is no message or not an answer. */
    Optional<Message> answer(JsonNode answer) {
        return answer.isObject()
                ? role(roleText(answer))
                        .filter(role -> !RowMapping.isPrompt(role))
                        .map(role -> message(role, answer, 0))
                : Optional.empty();
    }
}
