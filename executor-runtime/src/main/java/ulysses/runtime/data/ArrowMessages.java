package ulysses.runtime.data;

import com.google.flatbuffers.FlatBufferBuilder;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.List;
import org.apache.arrow.flatbuf.Buffer;
import org.apache.arrow.flatbuf.Endianness;
import org.apache.arrow.flatbuf.Field;
import org.apache.arrow.flatbuf.FieldNode;
import org.apache.arrow.flatbuf.Int;
import org.apache.arrow.flatbuf.Message;
import org.apache.arrow.flatbuf.MessageHeader;
import org.apache.arrow.flatbuf.MetadataVersion;
import org.apache.arrow.flatbuf.RecordBatch;
import org.apache.arrow.flatbuf.Schema;
import org.apache.arrow.flatbuf.Type;

/**
 * The metadata messages of an Arrow IPC stream whose columns are all {@code list<int32>} without missing values. The same input
 * gives the same bytes.
 */
final class ArrowMessages {
    /** Buffers of a column: list validity, offsets, value validity, values; the validities are empty. */
    private static final int BUFFERS_PER_COLUMN = 4;

    private ArrowMessages() {}

    /** Marks the end of a stream. */
    static byte[] end() {
        return new byte[] {-1, -1, -1, -1, 0, 0, 0, 0};
    }

    /** A schema message with its prefix. */
    static byte[] schema(List<String> columns) {
        FlatBufferBuilder builder = new FlatBufferBuilder();
        int[] fields =
                columns.stream().mapToInt(name -> listField(builder, name)).toArray();
        int vector = Schema.createFieldsVector(builder, fields);
        int schema = Schema.createSchema(builder, Endianness.Little, vector, 0, 0);
        return message(builder, MessageHeader.Schema, schema, 0);
    }

    private static int listField(FlatBufferBuilder builder, String name) {
        int itemName = builder.createString("item");
        int itemType = Int.createInt(builder, Integer.SIZE, true);
        int none = Field.createChildrenVector(builder, new int[0]);
        int item = Field.createField(builder, itemName, true, Type.Int, itemType, 0, none, 0);
        int listName = builder.createString(name);
        org.apache.arrow.flatbuf.List.startList(builder);
        int listType = org.apache.arrow.flatbuf.List.endList(builder);
        int children = Field.createChildrenVector(builder, new int[] {item});
        return Field.createField(builder, listName, true, Type.List, listType, 0, children, 0);
    }

    /**
     * A record batch message with its prefix; the body follows it: for each column offsets, then values, each padded to 8 bytes.
     *
     * @param rows rows of the batch
     * @param values values of each column
     */
    static byte[] recordBatch(int rows, long[] values) {
        FlatBufferBuilder builder = new FlatBufferBuilder();
        RecordBatch.startNodesVector(builder, 2 * values.length);
        for (int column = values.length - 1; column >= 0; column--) {
            FieldNode.createFieldNode(builder, values[column], 0);
            FieldNode.createFieldNode(builder, rows, 0);
        }
        int nodes = builder.endVector();
        RecordBatch.startBuffersVector(builder, BUFFERS_PER_COLUMN * values.length);
        long offsetBytes = Integer.BYTES * (rows + 1L);
        long end = bodyLength(rows, values);
        long bodyLength = end;
        for (int column = values.length - 1; column >= 0; column--) {
            long valueBytes = Integer.BYTES * values[column];
            long valuesAt = end - padded(valueBytes);
            long offsetsAt = valuesAt - padded(offsetBytes);
            Buffer.createBuffer(builder, valuesAt, valueBytes);
            Buffer.createBuffer(builder, valuesAt, 0);
            Buffer.createBuffer(builder, offsetsAt, offsetBytes);
            Buffer.createBuffer(builder, offsetsAt, 0);
            end = offsetsAt;
        }
        int buffers = builder.endVector();
        RecordBatch.startRecordBatch(builder);
        RecordBatch.addLength(builder, rows);
        RecordBatch.addNodes(builder, nodes);
        RecordBatch.addBuffers(builder, buffers);
        int batch = RecordBatch.endRecordBatch(builder);
        return message(builder, MessageHeader.RecordBatch, batch, bodyLength);
    }

    private static long bodyLength(int rows, long[] values) {
        long length = 0;
        for (long count : values) {
            length += padded(Integer.BYTES * (rows + 1L)) + padded(Integer.BYTES * count);
        }
        return length;
    }

    private static byte[] message(FlatBufferBuilder builder, byte type, int header, long bodyLength) {
        Message.startMessage(builder);
        Message.addBodyLength(builder, bodyLength);
        Message.addHeader(builder, header);
        Message.addHeaderType(builder, type);
        Message.addVersion(builder, MetadataVersion.V5);
        builder.finish(Message.endMessage(builder));
        byte[] metadata = builder.sizedByteArray();
        int length = (int) padded(metadata.length);
        ByteBuffer framed = ByteBuffer.allocate(2 * Integer.BYTES + length).order(ByteOrder.LITTLE_ENDIAN);
        return framed.putInt(-1).putInt(length).put(metadata).array();
    }

    /** {@code bytes} rounded up to Arrow's alignment of 8. */
    static long padded(long bytes) {
        return (bytes + 7) & ~7L;
    }
}
