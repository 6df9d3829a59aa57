package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.MissingNode;
import java.io.Serializable;
import java.util.List;
import ulysses.driver.dataset.DatasetEntry.Column;
import ulysses.driver.dataset.Example.Message;
import ulysses.driver.dataset.Example.Role;
import ulysses.runtime.data.DataException;

/** From a raw row to what it means, by the columns and tags of its dataset; the rules are LLaMA-Factory's converters. */
public interface RowMapping extends Serializable {

    /**
     * What a row means; {@link Example.Unusable} where LLaMA-Factory drops it with a warning.
     *
     * @throws DataException where LLaMA-Factory stops: a value of the wrong kind, a role without a tag
     */
    Example map(JsonNode row);

    /** The mapping of an entry. */
    static RowMapping of(DatasetEntry entry) {
        return switch (entry.formatting()) {
            case ALPACA -> new AlpacaMapping(entry);
            case SHAREGPT -> new ShareGptMapping(entry);
            case OPENAI -> new OpenAiMapping(entry);
        };
    }

    /** The value of a column; missing where the entry or the row has none. */
    static JsonNode value(DatasetEntry entry, Column column, JsonNode row) {
        return entry.column(column).map(row::path).orElse(MissingNode.getInstance());
    }

    /** A text that may be absent. */
    static String optionalText(DatasetEntry entry, Column column, JsonNode row) {
        JsonNode value = value(entry, column, row);
        if (value.isNull() || value.isMissingNode()) {
            return "";
        }
        return text(value, "column " + entry.column(column).orElse(""));
    }

    /** A text that has to be there. */
    static String text(JsonNode value, String what) {
        if (!value.isTextual()) {
            throw new DataException("%s is not text but %s; write it in quotes".formatted(what, shown(value)));
        }
        return value.textValue();
    }

    /** The beginning of a value, for messages. */
    static String shown(JsonNode value) {
        String text = value.isMissingNode() ? "missing" : PythonJson.write(value);
        return text.length() <= 100 ? text : text.substring(0, 100) + "...";
    }

    /** This product trains on text: pictures and sound can't be left out in silence. */
    static void refuseMedia(DatasetEntry entry, JsonNode row) {
        for (Column column : List.of(Column.IMAGES, Column.VIDEOS, Column.AUDIOS)) {
            JsonNode value = value(entry, column, row);
            if (!value.isNull() && !value.isMissingNode() && !(value.isArray() && value.isEmpty())) {
                throw new DataException("column %s holds %s; only text is trained, remove %s from the columns of %s"
                        .formatted(entry.column(column).orElse(""), shown(value), column.key(), entry.name()));
            }
        }
    }

    /** Whether roles alternate: prompt first, then answer. */
    static boolean alternates(List<Message> messages) {
        for (int i = 0; i < messages.size(); i++) {
            if (isPrompt(messages.get(i).role()) != (i % 2 == 0)) {
                return false;
            }
        }
        return true;
    }

    /** Whether a role asks. */
    static boolean isPrompt(Role role) {
        return role == Role.USER || role == Role.OBSERVATION;
    }
}
