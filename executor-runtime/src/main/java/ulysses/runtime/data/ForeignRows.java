package ulysses.runtime.data;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.zip.CRC32C;

/** All rows that another program tokenized, read once: how many tokens each has, and a checksum over what they say. */
final class ForeignRows {
    private final RowCounts.Builder counts = new RowCounts.Builder();
    private final CRC32C checksum = new CRC32C();

    /**
     * Reads the next file.
     *
     * @throws DataException for a row without any document, or with ids outside of {@code vocabulary}
     */
    void scan(PackedShard shard, int vocabulary) throws IOException {
        for (long index = 0; index < shard.rows(); index++) {
            PackedRow row = shard.row(index, vocabulary);
            if (row.documentLengths().length == 0) {
                throw new DataException("row %d of %s holds no token; remove the row".formatted(index, shard));
            }
            counts.add(row);
            update(row.documentLengths());
            update(row.ids());
            update(row.labels());
        }
    }

    private void update(int[] values) {
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(values.length, Integer.BYTES));
        bytes.asIntBuffer().put(values);
        checksum.update(bytes);
    }

    RowCounts counts() {
        return counts.build();
    }

    String fingerprint() {
        return "foreign-" + PackedManifest.checksum(checksum.getValue());
    }
}
