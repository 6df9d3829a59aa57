package ulysses.runtime.weights;

import java.nio.ByteBuffer;

/** An open file that is read by position, from any thread. Throws {@link StorageException} when the file system can't. */
public interface RangedFile extends AutoCloseable {

    /** Its path, for messages. */
    String path();

    /** Bytes it had when it was opened. */
    long length();

    /** Fills {@code into} up to its limit with the bytes from {@code position} on. */
    void read(long position, ByteBuffer into);

    @Override
    void close();
}
