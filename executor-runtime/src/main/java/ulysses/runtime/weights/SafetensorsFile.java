package ulysses.runtime.weights;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * A safetensors file, open for reading by name and range; from any thread. Format: huggingface.co/docs/safetensors. The header is
 * checked completely when the file is opened; a damaged file is refused with one {@link WeightsException}.
 */
public final class SafetensorsFile implements WeightFile {
    private final RangedFile file;
    private final SafetensorsHeader header;

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

    @Override
    public String path() {
        return file.path();
    }

    /** Names of its tensors, in the order of the header. */
    public List<String> names() {
        return List.copyOf(header.tensors().keySet());
    }

    @Override
    public Map<String, TensorInfo> tensors() {
        return Map.copyOf(header.tensors());
    }

    @Override
    public void read(String name, long byteOffset, ByteBuffer into) {
        TensorInfo info = info(name);
        if (byteOffset < 0 || byteOffset + into.remaining() > info.byteLength()) {
            throw new IllegalArgumentException("bytes %d..%d of %s, which has %d"
                    .formatted(byteOffset, byteOffset + into.remaining(), info, info.byteLength()));
        }
        file.read(header.dataStart() + info.offset() + byteOffset, into);
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
