package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.util.ArrayList;
import java.util.List;

/** The rows of a recorded case as examples, without Spark. */
public final class RecordedRows {
    private RecordedRows() {}

    /** One example a row, in order. */
    public static List<Example> examples(JsonNode recorded) {
        DatasetEntry entry = DatasetRegistry.entry("/data", "case", recorded.get("dataset_entry"));
        RowMapping mapping = RowMapping.of(entry);
        JsonShape shape = new JsonShape();
        recorded.get("rows").forEach(shape::add);
        List<Example> examples = new ArrayList<>();
        for (JsonNode row : recorded.get("rows")) {
            JsonNode object =
                    row.isTextual() ? JsonNodeFactory.instance.objectNode().set("text", row) : row;
            examples.add(
                    mapping.map(entry.formatting() == DatasetEntry.Formatting.OPENAI ? shape.fill(object) : object));
        }
        return examples;
    }
}
