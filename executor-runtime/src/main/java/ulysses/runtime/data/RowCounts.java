package ulysses.runtime.data;

import java.io.IOException;
import java.io.OutputStream;
import java.io.Serializable;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Arrays;
import java.util.List;
import java.util.zip.CRC32C;

/**
 * Tokens, predictions and documents of every row of a folder, so that each rank knows what the loss of a whole step is divided by
 * without reading the rows of others (numerics.md, rules 6 and 9). On disk: magic, version, rows, then tokens, predictions and
 * documents as int32, then a CRC32C; all big-endian.
 *
 * @param tokens tokens in documents of each row
 * @param trained labels that count of each row, see {@link PackedRow#trainedTokens}
 * @param documents of each row
 */
@SuppressWarnings("ArrayRecordComponent") // three ints a row; compared nowhere
public record RowCounts(int[] tokens, int[] trained, int[] documents) implements Serializable {
    private static final byte[] MAGIC = {'U', 'L', 'Y', 'S', 'R', 'O', 'W', 'S'};
    private static final int VERSION = 2;
    private static final int HEADER = 16;
    private static final int COLUMNS = 3;

    public RowCounts {
        if (tokens.length != trained.length || tokens.length != documents.length) {
            throw new IllegalArgumentException("token counts of %d rows, trained ones of %d, documents of %d"
                    .formatted(tokens.length, trained.length, documents.length));
        }
    }

    /** Rows counted. */
    public int rows() {
        return tokens.length;
    }

    /** The counts of several files, in order. */
    public static RowCounts concatenate(List<RowCounts> parts) {
        Builder all = new Builder();
        for (RowCounts part : parts) {
            for (int row = 0; row < part.rows(); row++) {
                all.add(part.tokens[row], part.trained[row], part.documents[row]);
            }
        }
        return all.build();
    }

    /** Writes the counts; the caller closes {@code out}. */
    void write(OutputStream out) throws IOException {
        byte[] bytes =
                new byte[Math.addExact(HEADER + Long.BYTES, Math.multiplyExact(rows(), COLUMNS * Integer.BYTES))];
        ByteBuffer buffer = ByteBuffer.wrap(bytes).put(MAGIC).putInt(VERSION).putInt(rows());
        buffer.asIntBuffer().put(tokens).put(trained).put(documents);
        buffer.putLong(bytes.length - Long.BYTES, checksum(bytes));
        out.write(bytes);
    }

    /** Reads counts written by {@link #write}. */
    static RowCounts read(DataFile file) throws IOException {
        ByteBuffer header = file.read(0, HEADER).order(ByteOrder.BIG_ENDIAN);
        byte[] magic = new byte[MAGIC.length];
        header.get(magic);
        if (!Arrays.equals(magic, MAGIC)) {
            throw file.damaged(0, "it does not start as a file of row counts", null);
        }
        int version = header.getInt();
        if (version != VERSION) {
            throw file.unsupported("row counts of version %d; this release reads %d".formatted(version, VERSION));
        }
        long rows = header.getInt();
        long length = HEADER + rows * COLUMNS * Integer.BYTES + Long.BYTES;
        if (rows < 0 || length != file.size() || length > Integer.MAX_VALUE) {
            throw file.damaged(12, "%d rows in a file of %d bytes".formatted(rows, file.size()), null);
        }
        byte[] bytes = new byte[(int) length];
        file.read(0, bytes.length).get(bytes);
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        if (buffer.getLong(bytes.length - Long.BYTES) != checksum(bytes)) {
            throw file.damaged(length - Long.BYTES, "its checksum is wrong", null);
        }
        RowCounts counts = new RowCounts(new int[(int) rows], new int[(int) rows], new int[(int) rows]);
        buffer.position(HEADER)
                .asIntBuffer()
                .get(counts.tokens)
                .get(counts.trained)
                .get(counts.documents);
        return counts;
    }

    /** CRC32C of all but the last 8 bytes. */
    private static long checksum(byte[] bytes) {
        CRC32C checksum = new CRC32C();
        checksum.update(bytes, 0, bytes.length - Long.BYTES);
        return checksum.getValue();
    }

    /** Collects counts row by row. */
    static final class Builder {
        private int[] tokens = new int[16];
        private int[] trained = new int[16];
        private int[] documents = new int[16];
        private int rows;

        void add(PackedRow row) {
            add(row.tokens(), row.trainedTokens(), row.documentLengths().length);
        }

        void add(int rowTokens, int rowTrained, int rowDocuments) {
            if (rows == tokens.length) {
                tokens = Arrays.copyOf(tokens, Math.multiplyExact(rows, 2));
                trained = Arrays.copyOf(trained, tokens.length);
                documents = Arrays.copyOf(documents, tokens.length);
            }
            tokens[rows] = rowTokens;
            trained[rows] = rowTrained;
            documents[rows] = rowDocuments;
            rows++;
        }

        RowCounts build() {
            return new RowCounts(
                    Arrays.copyOf(tokens, rows), Arrays.copyOf(trained, rows), Arrays.copyOf(documents, rows));
        }
    }
}
