package ulysses.runtime.data;

import java.io.IOException;
import java.nio.ByteBuffer;

/**
 * One list column of integers in one record batch: where its buffers lie in the file.
 *
 * @param name column name, for messages
 * @param offsets file position of the list offsets; not used when offsetBytes is 0
 * @param offsetBytes 4 (list), 8 (large list) or 0 (lists of equal length)
 * @param fixedLength values of each list when offsetBytes is 0
 * @param values file position of the values
 * @param type what a value is
 * @param valueCount values in the buffer
 */
record ArrowColumn(
        String name, long offsets, int offsetBytes, int fixedLength, long values, ValueType type, long valueCount) {

    /** Longest list that is read; chosen, not tuned: 2^26 tokens, so that a damaged offset can't ask for all memory. */
    static final int MAX_LENGTH = 1 << 26;

    private static final int CHUNK = 1 << 14;

    /** An integer type: 1, 2, 4 or 8 bytes, signed or not. */
    record ValueType(int bytes, boolean signed) {
        long read(ByteBuffer from) {
            return switch (bytes) {
                case 1 -> signed ? from.get() : from.get() & 0xFF;
                case 2 -> signed ? from.getShort() : from.getShort() & 0xFFFF;
                case 4 -> signed ? from.getInt() : from.getInt() & 0xFFFF_FFFFL;
                default -> from.getLong();
            };
        }
    }

    /** The list of row {@code row} of the batch. */
    int[] read(DataFile file, int row) throws IOException {
        long start = offset(file, row);
        long end = offset(file, row + 1);
        long at = offsets + (long) row * offsetBytes;
        if (start < 0 || end < start || end > valueCount) {
            throw file.damaged(
                    at,
                    "list %d..%d of %s lies outside of its %d values".formatted(start, end, name, valueCount),
                    null);
        }
        if (end - start > MAX_LENGTH) {
            throw file.damaged(at, "a row of %d tokens; the longest is %d".formatted(end - start, MAX_LENGTH), null);
        }
        int[] result = new int[(int) (end - start)];
        for (int from = 0; from < result.length; from += CHUNK) {
            long position = values + (start + from) * type.bytes();
            readChunk(file, position, result, from, Math.min(CHUNK, result.length - from));
        }
        return result;
    }

    private long offset(DataFile file, int row) throws IOException {
        if (offsetBytes == 0) {
            return (long) row * fixedLength;
        }
        ByteBuffer bytes = file.read(offsets + (long) row * offsetBytes, offsetBytes);
        return offsetBytes == 4 ? bytes.getInt() : bytes.getLong();
    }

    private void readChunk(DataFile file, long position, int[] into, int from, int count) throws IOException {
        ByteBuffer bytes = file.read(position, count * type.bytes());
        if (type.bytes() == 4 && type.signed()) {
            bytes.asIntBuffer().get(into, from, count);
            return;
        }
        for (int i = from; i < from + count; i++) {
            long value = type.read(bytes);
            if (value != (int) value) {
                throw file.damaged(
                        position, "%s holds %d, which no token id or label can be".formatted(name, value), null);
            }
            into[i] = (int) value;
        }
    }
}
