package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.math.BigDecimal;
import java.util.Map;
import org.apache.spark.sql.Row;
import org.jspecify.annotations.Nullable;
import scala.jdk.javaapi.CollectionConverters;

/** Values of typed columns (Parquet, Arrow) as JSON. */
final class ColumnValues {

    private static final JsonNodeFactory NODES = JsonNodeFactory.instance;

    private ColumnValues() {}

    static JsonNode json(@Nullable Object value) {
        if (value == null) {
            return NODES.nullNode();
        }
        if (value instanceof Boolean flag) {
            return NODES.booleanNode(flag);
        }
        if (value instanceof BigDecimal decimal) {
            return NODES.numberNode(decimal.doubleValue());
        }
        if (value instanceof Double || value instanceof Float) {
            return NODES.numberNode(((Number) value).doubleValue());
        }
        if (value instanceof Number integer) {
            return NODES.numberNode(integer.longValue());
        }
        if (value instanceof Row row) {
            return object(row);
        }
        if (value instanceof Map<?, ?> map) {
            ObjectNode object = NODES.objectNode();
            map.forEach((key, item) -> object.set(String.valueOf(key), json(item)));
            return object;
        }
        if (value instanceof Iterable<?> items) {
            ArrayNode array = NODES.arrayNode();
            items.forEach(item -> array.add(json(item)));
            return array;
        }
        if (value instanceof scala.collection.Map<?, ?> map) {
            return json(CollectionConverters.asJava(map));
        }
        if (value instanceof scala.collection.Seq<?> items) {
            return json(CollectionConverters.asJava(items));
        }
        return NODES.textNode(value.toString()); // String, Arrow's Text, dates
    }

    /** A row with named columns. */
    static ObjectNode object(Row row) {
        ObjectNode object = NODES.objectNode();
        String[] names = row.schema().fieldNames();
        for (int i = 0; i < names.length; i++) {
            object.set(names[i], json(row.get(i)));
        }
        return object;
    }
}
