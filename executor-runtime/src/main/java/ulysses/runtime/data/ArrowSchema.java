package ulysses.runtime.data;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import org.apache.arrow.flatbuf.Endianness;
import org.apache.arrow.flatbuf.Field;
import org.apache.arrow.flatbuf.FixedSizeList;
import org.apache.arrow.flatbuf.Int;
import org.apache.arrow.flatbuf.Schema;
import org.apache.arrow.flatbuf.Type;
import ulysses.runtime.data.ArrowColumn.ValueType;

/**
 * What the schema message of an Arrow stream says about the numbering of nodes and buffers in every record batch, as far as it is
 * needed to find integer list columns between others (Arrow columnar format, "RecordBatch message").
 *
 * @param lists integer list columns by name
 * @param names all columns, in order
 * @param nodes field nodes of a record batch
 * @param buffers buffers of a record batch
 */
record ArrowSchema(Map<String, ListLayout> lists, List<String> names, int nodes, int buffers) {

    /** Chosen, not tuned: a schema of this many fields is no set of packed rows. */
    private static final int MAX_FIELDS = 1000;

    private static final int MAX_DEPTH = 32;

    ArrowSchema {
        lists = Map.copyOf(lists);
        names = List.copyOf(names);
    }

    /** Numbers of a list column's nodes and buffers; offsetBytes is 0 for lists of fixedLength. */
    record ListLayout(
            int node, int offsetsBuffer, int offsetBytes, int fixedLength, int valuesBuffer, ValueType type) {}

    /** Reads a schema message. */
    static ArrowSchema of(Schema schema, DataFile file) {
        if (schema.endianness() != Endianness.Little) {
            throw file.unsupported("its numbers are big-endian; write it on a little-endian machine");
        }
        Walk walk = new Walk(file);
        for (int i = 0; i < walk.checkedCount(schema.fieldsLength()); i++) {
            walk.column(schema.fields(i));
        }
        return new ArrowSchema(walk.lists, walk.names, walk.nodes, walk.buffers);
    }

    private static final class Walk {
        private final DataFile file;
        private final Map<String, ListLayout> lists = new HashMap<>();
        private final List<String> names = new ArrayList<>();
        private int nodes;
        private int buffers;

        private Walk(DataFile file) {
            this.file = file;
        }

        private void column(Field field) {
            String name = String.valueOf(field.name());
            int node = nodes;
            int buffer = buffers;
            visit(field, 0);
            names.add(name);
            if (names.indexOf(name) < names.size() - 1) {
                throw file.unsupported("column %s is there twice".formatted(name));
            }
            listLayout(field, node, buffer).ifPresent(layout -> lists.put(name, layout));
        }

        private void visit(Field field, int depth) {
            if (depth > MAX_DEPTH || nodes >= MAX_FIELDS) {
                throw file.unsupported(
                        "its schema has more than %d fields or %d levels".formatted(MAX_FIELDS, MAX_DEPTH));
            }
            if (field.dictionary() != null) {
                throw file.unsupported("column %s is dictionary-encoded; write plain integers".formatted(field.name()));
            }
            nodes++;
            buffers += buffersOf(field);
            for (int i = 0; i < checkedCount(field.childrenLength()); i++) {
                visit(field.children(i), depth + 1);
            }
        }

        private int buffersOf(Field field) {
            return switch (field.typeType()) {
                case Type.Null -> 0;
                case Type.FixedSizeList, Type.Struct_ -> 1;
                case Type.Int,
                        Type.FloatingPoint,
                        Type.Bool,
                        Type.Decimal,
                        Type.Date,
                        Type.Time,
                        Type.Timestamp,
                        Type.Interval,
                        Type.Duration,
                        Type.FixedSizeBinary,
                        Type.List,
                        Type.LargeList,
                        Type.Map -> 2;
                case Type.Utf8, Type.Binary, Type.LargeUtf8, Type.LargeBinary -> 3;
                default ->
                    throw file.unsupported("column %s has an Arrow type (number %d) that isn't read; remove the column"
                            .formatted(field.name(), field.typeType()));
            };
        }

        private Optional<ListLayout> listLayout(Field field, int node, int buffer) {
            if (field.childrenLength() != 1 || field.children(0).typeType() != Type.Int) {
                return Optional.empty();
            }
            Int type = (Int) Objects.requireNonNull(field.children(0).type(new Int()));
            ValueType value = new ValueType(type.bitWidth() / 8, type.isSigned());
            boolean known =
                    type.bitWidth() == 8 || type.bitWidth() == 16 || type.bitWidth() == 32 || type.bitWidth() == 64;
            if (!known) {
                throw file.unsupported("column %s holds integers of %d bits".formatted(field.name(), type.bitWidth()));
            }
            return switch (field.typeType()) {
                case Type.List -> Optional.of(new ListLayout(node, buffer + 1, 4, 0, buffer + 3, value));
                case Type.LargeList -> Optional.of(new ListLayout(node, buffer + 1, 8, 0, buffer + 3, value));
                case Type.FixedSizeList ->
                    Optional.of(new ListLayout(node, 0, 0, fixedLength(field), buffer + 2, value));
                default -> Optional.empty();
            };
        }

        private int fixedLength(Field field) {
            int length = ((FixedSizeList) Objects.requireNonNull(field.type(new FixedSizeList()))).listSize();
            if (length < 0) {
                throw file.unsupported("column %s has lists of length %d".formatted(field.name(), length));
            }
            return length;
        }

        private int checkedCount(int count) {
            if (count < 0 || count > MAX_FIELDS) {
                throw file.unsupported("its schema claims %d fields; the limit is %d".formatted(count, MAX_FIELDS));
            }
            return count;
        }
    }
}
