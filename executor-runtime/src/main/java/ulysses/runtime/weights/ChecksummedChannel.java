package ulysses.runtime.weights;

import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.util.zip.CRC32C;

/** Writes to a stream in blocks, counting and checksumming what passes. Closing it flushes but leaves the stream open. */
final class ChecksummedChannel implements WritableByteChannel {
    private static final int BLOCK = 1 << 20; // 1 MiB: chosen, not tuned

    private final OutputStream out;
    private final CRC32C checksum = new CRC32C();
    private final byte[] block = new byte[BLOCK];
    private int filled;
    private long length;
    private boolean open = true;

    ChecksummedChannel(OutputStream out) {
        this.out = out;
    }

    @Override
    public int write(ByteBuffer source) throws IOException {
        int offered = source.remaining();
        while (source.hasRemaining()) {
            int taken = Math.min(source.remaining(), BLOCK - filled);
            source.get(block, filled, taken);
            filled += taken;
            if (filled == BLOCK) {
                flush();
            }
        }
        return offered;
    }

    /** Hands the last block to the stream. */
    void flush() throws IOException {
        out.write(block, 0, filled);
        checksum.update(block, 0, filled);
        length += filled;
        filled = 0;
    }

    /** What has passed so far, as the file {@code name}. */
    WrittenFile summary(String name) throws IOException {
        flush();
        return new WrittenFile(name, length, checksum.getValue());
    }

    @Override
    public boolean isOpen() {
        return open;
    }

    @Override
    public void close() throws IOException {
        flush();
        open = false;
    }
}
