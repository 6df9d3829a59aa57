package ulysses.driver.dataset;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.Iterator;
import java.util.NoSuchElementException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.Path;
import org.apache.spark.TaskContext;
import org.apache.spark.util.TaskCompletionListener;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.data.DataException;

/** Rows of one part of a file, one after the other; the file is closed when the task ends. */
abstract class SplitReader implements Iterator<RawRow> {

    final FileSplit split;
    private @Nullable RawRow next;
    private boolean ended;

    SplitReader(FileSplit split) {
        this.split = split;
    }

    /** The next row, or null at the end. */
    abstract @Nullable RawRow read() throws IOException;

    /** Opens a part at its first byte. */
    static FSDataInputStream open(FileSplit split, Configuration hadoop) throws IOException {
        Path path = new Path(split.file().path());
        FSDataInputStream stream = path.getFileSystem(hadoop).open(path);
        TaskContext task = TaskContext.get();
        if (task != null) {
            task.addTaskCompletionListener((TaskCompletionListener) context -> close(stream));
        }
        stream.seek(split.start());
        return stream;
    }

    private static void close(FSDataInputStream stream) {
        try {
            stream.close();
        } catch (IOException failure) {
            throw new UncheckedIOException(failure);
        }
    }

    /** A reader for the layout of a part. */
    static Iterator<RawRow> of(FileSplit split, Configuration hadoop) {
        try {
            return switch (split.layout()) {
                case JSON_LINES, TEXT_LINES -> new LineSplitReader(split, hadoop);
                case JSON_ARRAY -> new JsonArraySplitReader(split, hadoop);
                case CSV -> new CsvReader(split, hadoop);
                case ARROW -> new ArrowReader(split, hadoop);
            };
        } catch (IOException failure) {
            throw unreadable(split.file(), failure);
        }
    }

    /** What a failure to read a file says to the user. */
    static DataException unreadable(SourceFile file, Throwable failure) {
        String reason = String.valueOf(failure.getMessage()).lines().findFirst().orElse("no reason given");
        return new DataException(
                "%s can't be read as %s: %s; write it again, or give it the ending of what it is"
                        .formatted(file.path(), file.type().title(), reason),
                failure);
    }

    @Override
    public boolean hasNext() {
        if (next == null && !ended) {
            try {
                next = read();
            } catch (IOException failure) {
                throw unreadable(split.file(), failure);
            }
            ended = next == null;
        }
        return next != null;
    }

    @Override
    public RawRow next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        RawRow row = next;
        next = null;
        return java.util.Objects.requireNonNull(row);
    }
}
