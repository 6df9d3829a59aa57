package ulysses.driver.dataset;

import java.io.IOException;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.io.Text;
import org.apache.hadoop.util.LineReader;

/**
 * Lines of a part of a file. A line belongs to the part in which it begins; a part that doesn't begin the file skips what is left of
 * the line before, even when it begins exactly with a line, and the part before reads that one (as Hadoop's own line reader does).
 * Lines end with LF, CR or CRLF.
 */
final class LineCursor {

    private static final byte[] BYTE_ORDER_MARK = {(byte) 0xEF, (byte) 0xBB, (byte) 0xBF};

    private final LineReader reader;
    private final long end;
    private long position;
    private boolean started;
    private boolean first;

    LineCursor(FileSplit split, FSDataInputStream stream) {
        this.reader = new LineReader(stream, 1 << 16);
        this.end = split.end();
        this.position = split.start();
    }

    /** Skips the line that the part before reads. */
    private void skipBegun() throws IOException {
        if (position > 0) {
            position += reader.readLine(new Text());
        }
    }

    /** Puts the next line into {@code line}; false at the end of the part. */
    boolean next(Text line) throws IOException {
        if (!started) {
            started = true;
            first = position == 0;
            skipBegun();
        }
        if (position > end) {
            return false;
        }
        int consumed = reader.readLine(line);
        position += consumed;
        if (first) {
            first = false;
            dropByteOrderMark(line);
        }
        return consumed > 0;
    }

    private static void dropByteOrderMark(Text line) {
        byte[] bytes = line.copyBytes();
        if (bytes.length >= 3 && java.util.Arrays.equals(bytes, 0, 3, BYTE_ORDER_MARK, 0, 3)) {
            line.set(bytes, 3, bytes.length - 3);
        }
    }

    /** Whether a line holds nothing but white space. */
    static boolean isBlank(Text line) {
        byte[] bytes = line.getBytes();
        for (int i = 0; i < line.getLength(); i++) {
            if (bytes[i] != ' ' && bytes[i] != '\t' && bytes[i] != '\r') {
                return false;
            }
        }
        return true;
    }
}
