package ulysses.runtime.training;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorBytes;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.weights.TensorData;

/**
 * Copies of tensors in host memory, which another thread writes while the next steps change the originals; lives from the copying to
 * the end of the writing, and may be closed by any thread.
 */
final class TensorSnapshot implements AutoCloseable {
    private final List<Tensor> copies = new ArrayList<>();
    private final List<TensorData> tensors = new ArrayList<>();

    private TensorSnapshot() {}

    /** Copies the bytes of {@code originals}. */
    static TensorSnapshot of(List<TensorData> originals) {
        TensorSnapshot snapshot = new TensorSnapshot();
        try {
            originals.forEach(snapshot::copy);
            return snapshot;
        } catch (RuntimeException e) {
            snapshot.close();
            throw e;
        }
    }

    private void copy(TensorData original) {
        long length = original.byteLength();
        Tensor copy = TensorScope.own(torch.empty((length + Float.BYTES - 1) / Float.BYTES)); // float32, host memory
        copies.add(copy);
        try (TensorScope scope = TensorScope.open()) {
            original.bytes().writeTo(new Filling(new BytePointer(copy.data_ptr())));
        } catch (IOException e) {
            throw new UncheckedIOException("copying " + original.name() + ": " + e.getMessage(), e);
        }
        tensors.add(new TensorData(original.name(), original.type(), original.shape(), out -> {
            try (TensorScope scope = TensorScope.open()) {
                TensorBytes.write(copy, length, out);
            }
        }));
    }

    /** The copies, with the names, types and shapes of the originals. */
    List<TensorData> tensors() {
        return List.copyOf(tensors);
    }

    @Override
    public void close() {
        copies.forEach(Tensor::close);
        copies.clear();
    }

    /** Puts what is written to it into memory, from {@code bytes} on. */
    private static final class Filling implements WritableByteChannel {
        private final BytePointer bytes;
        private long filled;

        Filling(BytePointer bytes) {
            this.bytes = bytes;
        }

        @Override
        public int write(ByteBuffer source) {
            int count = source.remaining();
            bytes.position(filled).limit(filled + count).asByteBuffer().put(source);
            filled += count;
            return count;
        }

        @Override
        public boolean isOpen() {
            return true;
        }

        @Override
        public void close() {
            // memory needs none
        }
    }
}
