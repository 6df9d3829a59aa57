package ulysses.runtime.memory;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.pytorch.Tensor;

/**
 * The bytes of a contiguous tensor in host memory as a run of buffers: a tensor may exceed what one {@link ByteBuffer} can show.
 * Little-endian, row-major. The buffers are views: they must not be used after the tensor is freed.
 */
public final class TensorBytes {

    private static final int CHUNK = 16 << 20;

    private TensorBytes() {}

    /** Takes one stretch of a tensor's bytes. */
    @FunctionalInterface
    public interface Chunk {
        /** {@code buffer} shows the bytes from {@code offset} on; fill it to the brim, or drain it. */
        void accept(long offset, ByteBuffer buffer) throws IOException;
    }

    /** Shows all bytes of {@code tensor} to {@code chunk}, in order. */
    public static void forEach(Tensor tensor, Chunk chunk) throws IOException {
        forEach(tensor, tensor.numel() * tensor.element_size(), chunk);
    }

    private static void forEach(Tensor tensor, long length, Chunk chunk) throws IOException {
        if (!tensor.is_contiguous() || !tensor.is_cpu()) {
            throw new IllegalArgumentException("bytes of a tensor need it contiguous and in host memory");
        }
        try (TensorScope scope = TensorScope.open()) {
            BytePointer bytes = new BytePointer(tensor.data_ptr());
            for (long offset = 0; offset < length; offset += CHUNK) {
                long size = Math.min(CHUNK, length - offset);
                chunk.accept(offset, bytes.position(offset).limit(offset + size).asByteBuffer());
            }
        }
    }

    /** Writes all bytes of {@code tensor}. */
    public static void write(Tensor tensor, WritableByteChannel out) throws IOException {
        write(tensor, tensor.numel() * tensor.element_size(), out);
    }

    /** Writes the first {@code length} bytes of {@code tensor}. */
    public static void write(Tensor tensor, long length, WritableByteChannel out) throws IOException {
        forEach(tensor, length, (offset, buffer) -> {
            while (buffer.hasRemaining()) {
                out.write(buffer);
            }
        });
    }
}
