package ulysses.runtime.data;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import org.jspecify.annotations.Nullable;

/**
 * A local file read at any place, whose content is not trusted: a read past its end is a {@link DataException} with file and
 * offset. Positional reads go through the page cache, as a mapping would, but a file cut short while it is open gives an exception
 * and not a signal, and nothing limits a file to 2 GiB.
 */
final class DataFile implements Closeable {
    private final Path path;
    private final FileChannel channel;
    private final long size;

    private DataFile(Path path, FileChannel channel, long size) {
        this.path = path;
        this.channel = channel;
        this.size = size;
    }

    /** Opens {@code path} for reading. */
    static DataFile open(Path path) throws IOException {
        FileChannel channel = FileChannel.open(path, StandardOpenOption.READ);
        try {
            return new DataFile(path, channel, channel.size());
        } catch (IOException e) {
            channel.close();
            throw e;
        }
    }

    /** Length in bytes when it was opened. */
    long size() {
        return size;
    }

    /** The {@code length} bytes at {@code offset}, little-endian, ready to be read. */
    ByteBuffer read(long offset, int length) throws IOException {
        if (offset < 0 || length < 0 || offset > size - length) {
            throw damaged(offset, "%d bytes are expected there, the file has %d".formatted(length, size), null);
        }
        ByteBuffer bytes = ByteBuffer.allocate(length).order(ByteOrder.LITTLE_ENDIAN);
        long position = offset;
        while (bytes.hasRemaining()) {
            int count = channel.read(bytes, position);
            if (count < 0) {
                throw damaged(position, "the file became shorter while it was read", null);
            }
            position += count;
        }
        return bytes.flip();
    }

    /** What is thrown for content that can't be right. */
    DataException damaged(long offset, String what, @Nullable Throwable cause) {
        String message = "%s is damaged at byte %d: %s; prepare the data again or copy the file anew"
                .formatted(path, offset, what);
        return cause == null ? new DataException(message) : new DataException(message, cause);
    }

    /** What is thrown for a sound file of a kind that isn't read. */
    DataException unsupported(String what) {
        return new DataException(path + " can't be read as packed rows: " + what);
    }

    @Override
    public void close() throws IOException {
        channel.close();
    }

    @Override
    public String toString() {
        return path.toString();
    }
}
