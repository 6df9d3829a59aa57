package ulysses.runtime.weights;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;

/**
 * A tensor about to be written: what it is, and how to get its bytes when they are wanted. Little-endian, row-major. A tensor may
 * exceed 2 GiB, so the bytes are streamed and never asked for as one buffer.
 *
 * @param name as in the file
 * @param type of its elements
 * @param shape lengths of its axes
 * @param bytes writes exactly {@link #byteLength()} bytes, the same ones each time
 */
@SuppressWarnings("ArrayRecordComponent") // a carrier, never compared; a shape is an array wherever libtorch is near
public record TensorData(String name, DataType type, long[] shape, Bytes bytes) {
    public TensorData {
        shape = shape.clone();
    }

    /** Writes the elements of a tensor to a channel. */
    @FunctionalInterface
    public interface Bytes {
        /** Writes all bytes; the channel takes every one it is offered. */
        void writeTo(WritableByteChannel out) throws IOException;
    }

    /** A tensor whose bytes lie in {@code bytes}, between its position and limit. */
    public static TensorData of(String name, DataType type, long[] shape, ByteBuffer bytes) {
        ByteBuffer view = bytes.slice();
        return new TensorData(name, type, shape, out -> {
            ByteBuffer rest = view.duplicate();
            while (rest.hasRemaining()) {
                out.write(rest);
            }
        });
    }

    /** The same tensor; {@code progress} is told, on the writing thread, each time that all its bytes are written. */
    public TensorData watched(Runnable progress) {
        return new TensorData(name, type, shape, out -> {
            bytes.writeTo(out);
            progress.run();
        });
    }

    /** A copy of the lengths of its axes. */
    @Override
    public long[] shape() {
        return shape.clone();
    }

    /** Number of elements. */
    public long elements() {
        return Shapes.elements(shape);
    }

    /** Bytes it takes in a file. */
    public long byteLength() {
        return Math.multiplyExact(elements(), (long) type.bytes());
    }
}
