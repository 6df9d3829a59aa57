package ulysses.driver.dataset;

import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import ulysses.runtime.data.DataException;

/**
 * Where a file that is one JSON array can be cut: between two elements. Found by one pass over its bytes that only minds brackets and
 * strings, a few hundred MB/s, so that the elements of a long array are parsed side by side and none is held in memory with the rest.
 */
final class JsonArraySplits {

    private final SourceFile file;
    private final long part;
    private final List<FileSplit> splits = new ArrayList<>();
    private long rows;

    private long offset;
    private long line = 1;
    private int depth;
    private boolean inString;
    private boolean escaped;
    private boolean inElement;
    private boolean closed;
    private long splitStart;
    private long splitRow;
    private long splitLine = 1;

    private JsonArraySplits(SourceFile file, long part, long firstRow) {
        this.file = file;
        this.part = part;
        this.rows = firstRow;
        this.splitRow = firstRow;
    }

    /** Scans a file; rows count from {@code firstRow}. */
    static JsonArraySplits scan(SourceFile file, long part, long firstRow, Configuration hadoop) {
        JsonArraySplits scan = new JsonArraySplits(file, part, firstRow);
        Path path = new Path(file.path());
        try (InputStream stream = path.getFileSystem(hadoop).open(path)) {
            byte[] buffer = new byte[1 << 16];
            for (int read = stream.read(buffer); read >= 0; read = stream.read(buffer)) {
                for (int i = 0; i < read; i++) {
                    scan.take(buffer[i]);
                    scan.offset++;
                }
            }
        } catch (IOException failure) {
            throw SplitReader.unreadable(file, failure);
        }
        if (!scan.closed) {
            throw new DataException("%s ends in the middle of the array, at line %d behind %d rows; the file is cut off"
                    .formatted(file.path(), scan.line, scan.rows - firstRow));
        }
        scan.rows -= firstRow;
        return scan;
    }

    private void take(byte b) {
        if (b == '\n') {
            line++;
        }
        if (inString) {
            takeInString(b);
            return;
        }
        switch (b) {
            case ' ', '\t', '\n', '\r' -> {}
            case '"' -> {
                inString = true;
                inElement = true;
            }
            case '[', '{' -> open();
            case ']', '}' -> close();
            case ',' -> separate();
            default -> takeOther(b);
        }
    }

    private void takeInString(byte b) {
        if (escaped) {
            escaped = false;
        } else if (b == '\\') {
            escaped = true;
        } else if (b == '"') {
            inString = false;
        }
    }

    private void takeOther(byte b) {
        boolean byteOrderMark = depth == 0 && offset < 3 && b < 0;
        if (closed) {
            throw new DataException("%s line %d: text follows the end of the array; keep one array in a file"
                    .formatted(file.path(), line));
        }
        inElement |= !byteOrderMark;
    }

    private void open() {
        if (closed) {
            takeOther((byte) '[');
        }
        depth++;
        if (depth == 1) {
            begin(offset + 1);
        } else {
            inElement = true;
        }
    }

    private void close() {
        if (closed) {
            takeOther((byte) ']');
        }
        depth--;
        if (depth == 0) {
            endElement();
            cut();
            closed = true;
        }
    }

    private void separate() {
        if (depth == 1) {
            endElement();
            if (offset - splitStart >= part) {
                cut();
            }
        }
    }

    private void endElement() {
        if (inElement) {
            rows++;
            inElement = false;
        }
    }

    private void cut() {
        if (rows > splitRow) {
            splits.add(new FileSplit(file, FileSplit.Layout.JSON_ARRAY, splitStart, offset, splitRow, splitLine));
        }
        begin(offset + 1);
    }

    private void begin(long start) {
        splitStart = start;
        splitRow = rows;
        splitLine = line;
    }

    List<FileSplit> splits() {
        return splits;
    }

    /** Elements of the array. */
    long rows() {
        return rows;
    }
}
