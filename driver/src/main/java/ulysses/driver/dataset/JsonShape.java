package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.DoubleNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.Serializable;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * The common shape of nested values, as Arrow's readers infer it: an object has the keys of all rows in order of first appearance,
 * missing ones null, and integers become floating point where any row has a fraction. LLaMA-Factory's rows pass through Arrow, so
 * tools and arguments written as JSON values arrive in this form.
 */
final class JsonShape implements Serializable {
    private static final long serialVersionUID = 1L;

    private final LinkedHashMap<String, JsonShape> keys = new LinkedHashMap<>();
    private @Nullable JsonShape items;
    private boolean hasFraction;

    /** Takes a value in. */
    void add(JsonNode value) {
        if (value.isObject()) {
            value.properties().forEach(entry -> key(entry.getKey()).add(entry.getValue()));
        } else if (value.isArray()) {
            value.forEach(item -> items().add(item));
        } else if (value.isFloatingPointNumber()) {
            hasFraction = true;
        }
    }

    private JsonShape key(String name) {
        return keys.computeIfAbsent(name, absent -> new JsonShape());
    }

    private JsonShape items() {
        JsonShape current = items;
        if (current == null) {
            current = new JsonShape();
            items = current;
        }
        return current;
    }

    /** Takes in what another shape saw after this one. */
    void merge(JsonShape later) {
        later.keys.forEach((name, shape) -> key(name).merge(shape));
        if (later.items != null) {
            items().merge(later.items);
        }
        hasFraction |= later.hasFraction;
    }

    /** A value of this shape. */
    JsonNode fill(JsonNode value) {
        if (value.isObject()) {
            ObjectNode filled = JsonNodeFactory.instance.objectNode();
            for (Map.Entry<String, JsonShape> entry : keys.entrySet()) {
                JsonNode present = value.get(entry.getKey());
                filled.set(
                        entry.getKey(),
                        present == null
                                ? NullNode.getInstance()
                                : entry.getValue().fill(present));
            }
            return filled;
        }
        JsonShape shape = items;
        if (value.isArray() && shape != null) {
            ArrayNode filled = JsonNodeFactory.instance.arrayNode(value.size());
            value.forEach(item -> filled.add(shape.fill(item)));
            return filled;
        }
        return hasFraction && value.isIntegralNumber() ? DoubleNode.valueOf(value.doubleValue()) : value;
    }
}
