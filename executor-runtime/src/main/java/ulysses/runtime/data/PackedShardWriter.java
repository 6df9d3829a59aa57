package ulysses.runtime.data;

import java.io.Closeable;
import java.io.IOException;
import java.io.OutputStream;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Function;
import java.util.zip.CRC32C;
import java.util.zip.CheckedOutputStream;

/**
 * Writes one file of packed rows: an Arrow IPC stream with columns input_ids, labels and seq_lengths, each {@code list<int32>}. The
 * same rows give the same bytes. Memory: the rows of one record batch.
 */
public final class PackedShardWriter implements Closeable {
    private static final List<String> COLUMNS =
            List.of(PackedShard.INPUT_IDS, PackedShard.LABELS, PackedShard.SEQ_LENGTHS);
    /** Chosen, not tuned: at most 32 MB of ids and labels wait for their batch. */
    private static final int BATCH_TOKENS = 1 << 22;

    private static final int BATCH_ROWS = 1000;
    private static final int CHUNK_BYTES = 1 << 16;

    private final CRC32C checksum = new CRC32C();
    private final CheckedOutputStream out;
    private final List<PackedRow> waiting = new ArrayList<>();
    private final RowCounts.Builder counts = new RowCounts.Builder();
    private long waitingTokens;
    private long length;
    private long documents;

    /**
     * What was written.
     *
     * @param length bytes of the file
     * @param checksum CRC32C of the file, as {@link PackedManifest} spells it
     * @param counts tokens and predictions of each row
     * @param documents documents of all rows
     */
    public record Written(long length, String checksum, RowCounts counts, long documents) implements Serializable {}

    /** Writes to {@code out}, which {@link #close} closes. */
    public PackedShardWriter(OutputStream out) throws IOException {
        this.out = new CheckedOutputStream(out, checksum);
        write(ArrowMessages.schema(COLUMNS));
    }

    /** Appends a row, which needs at least one document. */
    public void add(PackedRow row) throws IOException {
        if (row.documentLengths().length == 0) {
            throw new IllegalArgumentException("a row without documents; every row needs a token");
        }
        if (row.length() > ArrowColumn.MAX_LENGTH) {
            throw new IllegalArgumentException(
                    "a row of %d tokens; the longest is %d".formatted(row.length(), ArrowColumn.MAX_LENGTH));
        }
        waiting.add(row);
        counts.add(row);
        documents += row.documentLengths().length;
        waitingTokens += row.length();
        if (waitingTokens >= BATCH_TOKENS || waiting.size() >= BATCH_ROWS) {
            writeBatch();
        }
    }

    /** Writes what is left and the end mark; a file without it is refused by readers. */
    public Written finish() throws IOException {
        writeBatch();
        write(ArrowMessages.end());
        out.flush();
        return new Written(length, PackedManifest.checksum(checksum.getValue()), counts.build(), documents);
    }

    @Override
    public void close() throws IOException {
        out.close();
    }

    private void writeBatch() throws IOException {
        if (waiting.isEmpty()) {
            return;
        }
        List<Function<PackedRow, int[]>> columns =
                List.of(PackedRow::ids, PackedRow::labels, PackedRow::documentLengths);
        long[] values = columns.stream()
                .mapToLong(column -> waiting.stream()
                        .mapToLong(row -> column.apply(row).length)
                        .sum())
                .toArray();
        write(ArrowMessages.recordBatch(waiting.size(), values));
        for (Function<PackedRow, int[]> column : columns) {
            writeOffsets(column);
            writeValues(column);
        }
        waiting.clear();
        waitingTokens = 0;
    }

    private void writeOffsets(Function<PackedRow, int[]> column) throws IOException {
        int[] offsets = new int[waiting.size() + 1];
        for (int row = 0; row < waiting.size(); row++) {
            offsets[row + 1] = Math.addExact(offsets[row], column.apply(waiting.get(row)).length);
        }
        writeInts(offsets);
        pad((long) offsets.length * Integer.BYTES);
    }

    private void writeValues(Function<PackedRow, int[]> column) throws IOException {
        long bytes = 0;
        for (PackedRow row : waiting) {
            int[] values = column.apply(row);
            writeInts(values);
            bytes += (long) values.length * Integer.BYTES;
        }
        pad(bytes);
    }

    private void writeInts(int[] values) throws IOException {
        int chunk = CHUNK_BYTES / Integer.BYTES;
        ByteBuffer bytes = ByteBuffer.allocate(Math.min(values.length, chunk) * Integer.BYTES)
                .order(ByteOrder.LITTLE_ENDIAN);
        for (int from = 0; from < values.length; from += chunk) {
            int count = Math.min(chunk, values.length - from);
            bytes.asIntBuffer().put(values, from, count);
            out.write(bytes.array(), 0, count * Integer.BYTES);
            length += (long) count * Integer.BYTES;
        }
    }

    private void pad(long written) throws IOException {
        write(new byte[(int) (ArrowMessages.padded(written) - written)]);
    }

    private void write(byte[] bytes) throws IOException {
        out.write(bytes);
        length += bytes.length;
    }
}
