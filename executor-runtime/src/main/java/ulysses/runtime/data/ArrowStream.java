package ulysses.runtime.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import org.apache.arrow.flatbuf.Buffer;
import org.apache.arrow.flatbuf.FieldNode;
import org.apache.arrow.flatbuf.Message;
import org.apache.arrow.flatbuf.MessageHeader;
import org.apache.arrow.flatbuf.RecordBatch;
import org.apache.arrow.flatbuf.Schema;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.data.ArrowSchema.ListLayout;

/**
 * The index of an Arrow IPC stream file: where the columns of each record batch lie. Only the small metadata messages are read;
 * every length and position in them is checked against the file before it is used (Arrow columnar format, "Encapsulated message
 * format").
 *
 * @param columns all column names of the schema
 * @param integerLists names of integer list columns
 * @param batches record batches in order, empty ones left out
 */
record ArrowStream(List<String> columns, Set<String> integerLists, List<Batch> batches) {

    private static final int CONTINUATION = -1;
    private static final int PREFIX = 8;
    /** Chosen, not tuned: a schema with Hugging Face features has a few KiB. */
    private static final int MAX_METADATA = 64 << 20;

    private static final byte[] FILE_FORMAT_MAGIC = {'A', 'R', 'R', 'O', 'W', '1'};

    ArrowStream {
        columns = List.copyOf(columns);
        integerLists = Set.copyOf(integerLists);
        batches = List.copyOf(batches);
    }

    /** Rows firstRow .. firstRow + rows - 1 of the file. */
    record Batch(long firstRow, int rows, Map<String, ArrowColumn> lists) {
        Batch {
            lists = Map.copyOf(lists);
        }
    }

    /** Reads the messages of {@code file}, keeping integer list columns named in {@code wanted}. */
    static ArrowStream index(DataFile file, Set<String> wanted) throws IOException {
        refuseFileFormat(file);
        Scan scan = new Scan(file, wanted);
        long offset = 0;
        while (offset >= 0) {
            offset = scan.message(offset);
        }
        return new ArrowStream(scan.schema().names(), scan.schema().lists().keySet(), scan.batches);
    }

    private static void refuseFileFormat(DataFile file) throws IOException {
        int length = FILE_FORMAT_MAGIC.length;
        if (file.size() >= length && file.read(0, length).equals(ByteBuffer.wrap(FILE_FORMAT_MAGIC))) {
            throw file.unsupported("it is an Arrow file, not an Arrow stream; write it with datasets.save_to_disk");
        }
    }

    private static final class Scan {
        private final DataFile file;
        private final Set<String> wanted;
        private final List<Batch> batches = new ArrayList<>();
        private @Nullable ArrowSchema schema;
        private long rows;

        private Scan(DataFile file, Set<String> wanted) {
            this.file = file;
            this.wanted = wanted;
        }

        private ArrowSchema schema() {
            return Objects.requireNonNull(schema);
        }

        /** Reads the message at {@code offset}; gives the position of the next one, or -1 after the last. */
        private long message(long offset) throws IOException {
            ByteBuffer prefix = file.read(offset, PREFIX);
            int mark = prefix.getInt();
            int length = prefix.getInt();
            if (mark != CONTINUATION) {
                throw file.damaged(offset, "no Arrow message starts here", null);
            }
            if (length == 0) {
                return end(offset);
            }
            if (length < 0 || length > MAX_METADATA) {
                throw file.damaged(
                        offset, "metadata of %d bytes; the limit is %d".formatted(length, MAX_METADATA), null);
            }
            long body = offset + PREFIX + length;
            ByteBuffer metadata = file.read(offset + PREFIX, length);
            try {
                return body + contents(Message.getRootAsMessage(metadata), offset, body);
            } catch (DataException e) {
                throw e;
            } catch (RuntimeException | AssertionError e) {
                // flatbuffers throws all kinds of them when positions inside the metadata are wrong.
                throw file.damaged(offset, "the metadata of a message can't be read", e);
            }
        }

        private long end(long offset) {
            if (schema == null) {
                throw file.damaged(offset, "the stream ends before its schema", null);
            }
            return -1;
        }

        private long contents(Message message, long offset, long body) {
            long bodyLength = message.bodyLength();
            if (bodyLength < 0 || bodyLength > file.size() - body) {
                throw file.damaged(
                        offset,
                        "a message body of %d bytes, but the file has %d behind it"
                                .formatted(bodyLength, file.size() - body),
                        null);
            }
            boolean first = schema == null;
            if (first != (message.headerType() == MessageHeader.Schema)) {
                throw file.damaged(
                        offset,
                        "message type %d in a place where it can't be; columns in dictionaries aren't read"
                                .formatted(message.headerType()),
                        null);
            }
            if (first) {
                schema = ArrowSchema.of((Schema) Objects.requireNonNull(message.header(new Schema())), file);
            } else if (message.headerType() == MessageHeader.RecordBatch) {
                batch(
                        (RecordBatch) Objects.requireNonNull(message.header(new RecordBatch())),
                        offset,
                        body,
                        bodyLength);
            } else {
                throw file.unsupported(
                        "it holds a message of type %d; only record batches are read".formatted(message.headerType()));
            }
            return bodyLength;
        }

        private void batch(RecordBatch batch, long offset, long body, long bodyLength) {
            if (batch.compression() != null) {
                throw file.unsupported("its record batches are compressed; write them uncompressed");
            }
            if (batch.length() < 0 || batch.length() > Integer.MAX_VALUE) {
                throw file.damaged(offset, "a record batch of %d rows".formatted(batch.length()), null);
            }
            if (batch.nodesLength() != schema().nodes() || batch.buffersLength() != schema().buffers()) {
                throw file.damaged(
                        offset,
                        "a record batch of %d nodes and %d buffers; the schema has %d and %d"
                                .formatted(
                                        batch.nodesLength(),
                                        batch.buffersLength(),
                                        schema().nodes(),
                                        schema().buffers()),
                        null);
            }
            int count = (int) batch.length();
            if (count == 0) {
                return;
            }
            BatchReader reader = new BatchReader(file, batch, offset, body, bodyLength);
            Map<String, ArrowColumn> lists = new HashMap<>();
            schema().lists().forEach((name, layout) -> {
                if (wanted.contains(name)) {
                    lists.put(name, reader.column(name, layout, count));
                }
            });
            batches.add(new Batch(rows, count, lists));
            rows += count;
        }
    }

    private record BatchReader(DataFile file, RecordBatch batch, long offset, long body, long bodyLength) {

        private ArrowColumn column(String name, ListLayout layout, int rows) {
            FieldNode list = batch.nodes(layout.node());
            FieldNode values = batch.nodes(layout.node() + 1);
            if (list.length() != rows || values.length() < 0) {
                throw file.damaged(offset, "column %s has %d rows of %d".formatted(name, list.length(), rows), null);
            }
            if (list.nullCount() != 0 || values.nullCount() != 0) {
                throw file.unsupported("column %s has missing values (null)".formatted(name));
            }
            long offsets = 0;
            if (layout.offsetBytes() > 0) {
                offsets = buffer(name, layout.offsetsBuffer(), rows + 1L, layout.offsetBytes());
            } else if (values.length() / Math.max(layout.fixedLength(), 1) < rows && layout.fixedLength() > 0) {
                throw file.damaged(
                        offset,
                        "column %s has %d values for %d rows of %d"
                                .formatted(name, values.length(), rows, layout.fixedLength()),
                        null);
            }
            int valueBytes = layout.type().bytes();
            long start = buffer(name, layout.valuesBuffer(), values.length(), valueBytes);
            return new ArrowColumn(
                    name, offsets, layout.offsetBytes(), layout.fixedLength(), start, layout.type(), values.length());
        }

        /** File position of a buffer that holds at least {@code count} values of {@code width} bytes. */
        private long buffer(String name, int number, long count, int width) {
            Buffer buffer = batch.buffers(number);
            if (buffer.offset() < 0 || buffer.length() < 0 || buffer.offset() > bodyLength - buffer.length()) {
                throw file.damaged(offset, "a buffer of column %s lies outside of its message".formatted(name), null);
            }
            if (count > buffer.length() / width) {
                throw file.damaged(
                        offset,
                        "a buffer of column %s has %d bytes; %d values of %d bytes are expected"
                                .formatted(name, buffer.length(), count, width),
                        null);
            }
            return body + buffer.offset();
        }
    }
}
