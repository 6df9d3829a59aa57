package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.FieldVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.ipc.ArrowStreamReader;
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

    private final FileSplit split;
    private final ArrowStreamReader reader;
    private final VectorSchemaRoot batch;
    private int position;
    private long row;

    ArrowReader(FileSplit split, Configuration hadoop) throws IOException {
        this.split = split;
        this.row = split.firstRow();
        FSDataInputStream stream = open(split, hadoop);
        byte[] magic = stream.readNBytes(FILE_MAGIC.length);
        if (!Arrays.equals(magic, FILE_MAGIC)) {
            stream.seek(0);
        }
        RootAllocator allocator = new RootAllocator();
        this.reader = new ArrowStreamReader(stream, allocator);
        TaskContext task = TaskContext.get();
        if (task != null) {
            task.addTaskCompletionListener((TaskCompletionListener) context -> close(reader, allocator));
        }
        this.batch = reader.getVectorSchemaRoot();
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
            if (!reader.loadNextBatch()) {
                return null;
            }
            position = 0;
        }
        ObjectNode object = JsonNodeFactory.instance.objectNode();
        for (FieldVector vector : batch.getFieldVectors()) {
            if (vector.getField().getDictionary() != null) {
                throw new DataException("%s: column %s is dictionary encoded; write it as plain text"
                        .formatted(split.file().path(), vector.getName()));
            }
            object.set(vector.getName(), ColumnValues.json(vector.getObject(position)));
        }
        position++;
        long number = row++;
        return new RawRow(number, "%s row %d".formatted(split.file().path(), number - split.firstRow() + 1), object);
    }
}
