package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.arrow.memory.ArrowBuf;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.BaseLargeVariableWidthVector;
import org.apache.arrow.vector.BaseVariableWidthVector;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.ipc.ArrowStreamReader;
import org.apache.arrow.vector.ipc.ReadChannel;
import org.apache.arrow.vector.ipc.message.MessageChannelReader;
import org.apache.arrow.vector.util.ValueVectorUtility;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.spark.TaskContext;
import org.apache.spark.util.TaskCompletionListener;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.data.DataException;

/**
 * Rows of an Arrow file, batch by batch. The file format is the stream format behind eight bytes and with a footer that a reader in
 * order doesn't need.
 */
final class ArrowReader extends SplitReader {

    private static final byte[] FILE_MAGIC = "ARROW1\0\0".getBytes(StandardCharsets.US_ASCII);

    /** Beside what the file itself holds: buffers are rounded up to powers of two. */
    private static final long LEAST_ROOM = 1L << 20;

    private final ArrowStreamReader reader;
    private final VectorSchemaRoot batch;
    private int position;
    private long row;

    ArrowReader(FileSplit split, Configuration hadoop) throws IOException {
        super(split);
        this.row = split.firstRow();
        FSDataInputStream stream = open(split, hadoop);
        byte[] magic = stream.readNBytes(FILE_MAGIC.length);
        if (!Arrays.equals(magic, FILE_MAGIC)) {
            stream.seek(0);
        }
        long length = split.file().length();
        RootAllocator allocator = new RootAllocator(LEAST_ROOM + 4 * length);
        this.reader =
                new ArrowStreamReader(new MessageChannelReader(new Messages(stream, length), allocator), allocator);
        TaskContext task = TaskContext.get();
        if (task != null) {
            task.addTaskCompletionListener((TaskCompletionListener) context -> close(reader, allocator));
        }
        this.batch = checked(reader::getVectorSchemaRoot);
    }

    /** Something that the library does with bytes that may be damaged. */
    @FunctionalInterface
    private interface Step<T> {
        T take() throws IOException;
    }

    /** The library believes lengths and offsets, and fails on wrong ones with any exception. */
    private <T> T checked(Step<T> step) throws IOException {
        try {
            return step.take();
        } catch (DataException ours) {
            throw ours;
        } catch (RuntimeException damaged) {
            throw unreadable(split.file(), damaged);
        }
    }

    /** Messages of a file; one that says it is longer than the rest of the file is refused before room is made for it. */
    private static final class Messages extends ReadChannel {
        private final long fileLength;

        Messages(InputStream stream, long fileLength) {
            super(Channels.newChannel(stream));
            this.fileLength = fileLength;
        }

        @Override
        public int readFully(ByteBuffer buffer) throws IOException {
            int count = super.readFully(buffer);
            if (buffer.capacity() == Integer.BYTES && count == Integer.BYTES) {
                int length = buffer.duplicate().order(ByteOrder.LITTLE_ENDIAN).getInt(0);
                if (length < -1 || length > fileLength - bytesRead()) { // -1 comes before a length
                    throw new IOException("a message of %d bytes is announced at byte %d of %d"
                            .formatted(length, bytesRead(), fileLength));
                }
            }
            return count;
        }
    }

    private static void close(ArrowStreamReader reader, RootAllocator allocator) {
        try (allocator;
                reader) {
            // closes the batch, then what it was allocated from
        } catch (IOException failure) {
            throw new java.io.UncheckedIOException(failure);
        }
    }

    @Override
    @Nullable
    RawRow read() throws IOException {
        while (position >= batch.getRowCount()) {
            if (!checked(this::loadNextBatch)) {
                return null;
            }
            position = 0;
        }
        ObjectNode object = checked(this::values);
        position++;
        long number = row++;
        return new RawRow(number, "%s row %d".formatted(split.file().path(), number - split.firstRow() + 1), object);
    }

    private boolean loadNextBatch() throws IOException {
        boolean loaded = reader.loadNextBatch();
        long mostRows = Byte.SIZE * split.file().length(); // a row takes a bit at least
        if (loaded && batch.getRowCount() > mostRows) {
            throw new IOException("a batch of %d rows is announced in a file of %d bytes"
                    .formatted(batch.getRowCount(), split.file().length()));
        }
        for (FieldVector vector : batch.getFieldVectors()) {
            requireValuesInside(vector);
        }
        ValueVectorUtility.validateFull(batch);
        return loaded;
    }

    /** Arrow's own validation reads texts and so makes room for each, before it looks whether they lie inside of the file. */
    private static void requireValuesInside(FieldVector vector) throws IOException {
        int width = vector instanceof BaseVariableWidthVector
                ? Integer.BYTES
                : vector instanceof BaseLargeVariableWidthVector ? Long.BYTES : 0;
        int offsets =
                width == 0 || vector.getValueCount() == 0 ? 0 : vector.getValueCount() + 1; // the last one's end, too
        for (long i = 0; i < offsets; i++) {
            ArrowBuf begins = vector.getOffsetBuffer();
            requireInside(vector, width == Integer.BYTES ? begins.getInt(i * width) : begins.getLong(i * width));
        }
        for (FieldVector child : vector.getChildrenFromFields()) {
            requireValuesInside(child);
        }
    }

    private static void requireInside(FieldVector vector, long offset) throws IOException {
        long most = vector.getDataBuffer().capacity();
        if (offset < 0 || offset > most) {
            throw new IOException(
                    "a value of column %s begins at byte %d of %d".formatted(vector.getName(), offset, most));
        }
    }

    private ObjectNode values() {
        ObjectNode object = JsonNodeFactory.instance.objectNode();
        for (FieldVector vector : batch.getFieldVectors()) {
            if (vector.getField().getDictionary() != null) {
                throw new DataException("%s: column %s is dictionary encoded; write it as plain text"
                        .formatted(split.file().path(), vector.getName()));
            }
            object.set(vector.getName(), ColumnValues.json(vector.getObject(position)));
        }
        return object;
    }
}
