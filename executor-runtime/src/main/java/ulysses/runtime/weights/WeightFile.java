package ulysses.runtime.weights;

import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Map;

/**
 * A file of named tensors, open for reading by name and range; from any thread. What the file says of itself is checked when it is
 * opened. Throws {@link WeightsException} for what the file does not hold and {@link StorageException} when it can't be read.
 */
public sealed interface WeightFile extends FloatWeights, AutoCloseable permits SafetensorsFile, TorchPickleFile {
    /** Bytes widened or copied at once: chosen, not tuned. */
    int BLOCK = 1 << 20;

    /**
     * One tensor of a file.
     *
     * @param name in the file
     * @param type of its elements
     * @param shape lengths of its axes
     * @param offset where its bytes start, from the first byte of what it lies in
     */
    @SuppressWarnings("ArrayRecordComponent") // never compared; a shape is an array wherever libtorch is near
    record TensorInfo(String name, DataType type, long[] shape, long offset) {
        public TensorInfo {
            shape = shape.clone();
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

        /** Bytes of all its elements. */
        public long byteLength() {
            return elements() * type.bytes();
        }

        @Override
        public String toString() {
            return name + " " + type + Arrays.toString(shape);
        }
    }

    /** Opens {@code name} in {@code folder}: names that end in {@code .safetensors} are that format, others are torch.save's. */
    static WeightFile open(Folder folder, String name) {
        return name.endsWith(".safetensors") ? SafetensorsFile.open(folder, name) : TorchPickleFile.open(folder, name);
    }

    /** Its path, for messages. */
    String path();

    /** All tensors by name. */
    Map<String, TensorInfo> tensors();

    /** What the tensor {@code name} is. */
    default TensorInfo info(String name) {
        TensorInfo info = tensors().get(name);
        if (info == null) {
            throw new WeightsException("%s holds no tensor %s; it holds %d others"
                    .formatted(path(), name, tensors().size()));
        }
        return info;
    }

    /** Fills {@code into} up to its limit with bytes of the tensor, little-endian and row-major, from its byte {@code byteOffset} on. */
    void read(String name, long byteOffset, ByteBuffer into);

    /**
     * Fills {@code into} up to its limit with elements of a float tensor, from {@code firstElement} on, widened exactly to
     * little-endian float32.
     */
    @Override
    default void readFloat32(String name, long firstElement, ByteBuffer into) {
        TensorInfo info = info(name);
        if (info.type() == DataType.F32) {
            read(name, firstElement * 4, into);
            return;
        }
        int width = info.type().bytes();
        ByteBuffer block = ByteBuffer.allocate(Math.min(BLOCK, into.remaining() / 4 * width));
        long next = firstElement;
        while (into.hasRemaining()) {
            block.clear().limit(Math.min(block.capacity(), into.remaining() / 4 * width));
            read(name, next * width, block);
            next += block.flip().remaining() / width;
            FloatFormat.widen(info.type(), block, into);
        }
    }

    /** Copies all bytes of a tensor. */
    default TensorData data(String name) {
        TensorInfo info = info(name);
        return new TensorData(name, info.type(), info.shape(), out -> {
            ByteBuffer block = ByteBuffer.allocate((int) Math.min(4 * BLOCK, info.byteLength()));
            for (long offset = 0; offset < info.byteLength(); offset += block.limit()) {
                block.clear().limit((int) Math.min(block.capacity(), info.byteLength() - offset));
                read(name, offset, block);
                out.write(block.flip());
            }
        });
    }

    @Override
    void close();
}
