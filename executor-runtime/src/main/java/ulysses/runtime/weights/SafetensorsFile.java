package ulysses.runtime.weights;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A safetensors file, open for reading by name and range; from any thread. Format: huggingface.co/docs/safetensors. The header is
 * checked completely when the file is opened; a damaged file is refused with one {@link WeightsException}.
 */
public final class SafetensorsFile implements FloatWeights, AutoCloseable {
    private static final int BLOCK = 1 << 20; // bytes widened at once: chosen, not tuned

    private final RangedFile file;
    private final SafetensorsHeader header;

    /**
     * One tensor of a file.
     *
     * @param name in the file
     * @param type of its elements
     * @param shape lengths of its axes
     * @param offset where its bytes start, from the first tensor's first byte
     */
    @SuppressWarnings("ArrayRecordComponent") // never compared; a shape is an array wherever libtorch is near
    public record TensorInfo(String name, DataType type, long[] shape, long offset) {
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

        /** Bytes in the file. */
        public long byteLength() {
            return elements() * type.bytes();
        }

        @Override
        public String toString() {
            return name + " " + type + Arrays.toString(shape);
        }
    }

    private SafetensorsFile(RangedFile file, SafetensorsHeader header) {
        this.file = file;
        this.header = header;
    }

    /** Opens {@code name} in {@code folder} and checks its header. */
    public static SafetensorsFile open(Folder folder, String name) {
        RangedFile file = folder.open(name);
        try {
            return new SafetensorsFile(file, SafetensorsHeader.read(file));
        } catch (RuntimeException e) {
            file.close();
            throw e;
        }
    }

    /** Its path, for messages. */
    public String path() {
        return file.path();
    }

    /** Names of its tensors, in the order of the header. */
    public List<String> names() {
        return List.copyOf(header.tensors().keySet());
    }

    /** All tensors by name. */
    public Map<String, TensorInfo> tensors() {
        return Map.copyOf(header.tensors());
    }

    /** What the tensor {@code name} is. */
    public TensorInfo info(String name) {
        TensorInfo info = header.tensors().get(name);
        if (info == null) {
            throw new WeightsException("%s holds no tensor %s; it holds %d others"
                    .formatted(file.path(), name, header.tensors().size()));
        }
        return info;
    }

    /** Fills {@code into} up to its limit with bytes of the tensor, from its byte {@code byteOffset} on. */
    public void read(String name, long byteOffset, ByteBuffer into) {
        TensorInfo info = info(name);
        if (byteOffset < 0 || byteOffset + into.remaining() > info.byteLength()) {
            throw new IllegalArgumentException("bytes %d..%d of %s, which has %d"
                    .formatted(byteOffset, byteOffset + into.remaining(), info, info.byteLength()));
        }
        file.read(header.dataStart() + info.offset() + byteOffset, into);
    }

    /**
     * Fills {@code into} up to its limit with elements of a float tensor, from {@code firstElement} on, widened exactly to
     * little-endian float32.
     */
    @Override
    public void readFloat32(String name, long firstElement, ByteBuffer into) {
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
    public TensorData data(String name) {
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
    public void close() {
        file.close();
    }

    /** Bytes of a file that holds {@code tensors}. */
    public static long byteLength(List<TensorData> tensors) {
        return SafetensorsHeader.encode(inFileOrder(tensors)).length
                + tensors.stream().mapToLong(TensorData::byteLength).sum();
    }

    /**
     * Writes {@code tensors} as {@code name} in {@code folder}: the widest elements first, then by name, so that every tensor is
     * aligned and the same tensors give the same bytes in whatever order they come.
     */
    public static WrittenFile write(Folder folder, String name, List<TensorData> tensors) {
        List<TensorData> ordered = inFileOrder(tensors);
        return folder.write(name, out -> {
            out.write(ByteBuffer.wrap(SafetensorsHeader.encode(ordered)));
            for (TensorData tensor : ordered) {
                Counter counter = new Counter(out);
                tensor.bytes().writeTo(counter);
                if (counter.count != tensor.byteLength()) {
                    throw new IllegalArgumentException("tensor %s wrote %d bytes instead of %d"
                            .formatted(tensor.name(), counter.count, tensor.byteLength()));
                }
            }
        });
    }

    private static List<TensorData> inFileOrder(List<TensorData> tensors) {
        Set<String> names = new HashSet<>();
        for (TensorData tensor : tensors) {
            if (!names.add(tensor.name())) {
                throw new IllegalArgumentException("two tensors are called " + tensor.name());
            }
        }
        List<TensorData> ordered = new ArrayList<>(tensors);
        ordered.sort(
                Comparator.comparingInt((TensorData tensor) -> -tensor.type().bytes())
                        .thenComparing(TensorData::name));
        return ordered;
    }

    private static final class Counter implements WritableByteChannel {
        private final WritableByteChannel out;
        private long count;

        Counter(WritableByteChannel out) {
            this.out = out;
        }

        @Override
        public int write(ByteBuffer source) throws IOException {
            int written = out.write(source);
            count += written;
            return written;
        }

        @Override
        public boolean isOpen() {
            return out.isOpen();
        }

        @Override
        public void close() throws IOException {
            out.close();
        }
    }
}
