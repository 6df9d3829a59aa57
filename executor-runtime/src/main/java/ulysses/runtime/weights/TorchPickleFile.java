package ulysses.runtime.weights;

import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.jspecify.annotations.Nullable;

/**
 * A file that torch.save wrote, {@code pytorch_model.bin} or {@code adapter_model.bin}: a dict of tensors, open for reading by name and
 * range. Both forms are read, the zip archive of PyTorch 1.6 and later and the stream of earlier ones. The pickle inside is read by
 * {@link TorchUnpickler}, which runs nothing; offsets, shapes and strides are checked against the bytes that are there when the file
 * is opened.
 */
public final class TorchPickleFile implements WeightFile {
    /** PyTorch's own limit on the axes of a tensor. */
    static final int MAX_AXES = 64;

    /** Bytes of a pickle; one tensor takes about 200, so this is room for over a hundred thousand. */
    private static final long MAX_PICKLE = 32L << 20;

    private static final BigInteger STREAM_MAGIC = new BigInteger("1950a86a20f9469cfc6c", 16);
    private static final String STREAM_START = "\u0080\u0002\u008a\n"; // protocol 2, then a number of 10 bytes
    private static final Long STREAM_VERSION = 1001L;

    private final RangedFile file;
    private final Map<String, Stored> stored;
    private final Map<String, TensorInfo> tensors = new LinkedHashMap<>();
    private @Nullable Gathered gathered;

    /** A tensor and where in the file its storage starts. */
    private record Stored(TensorInfo info, TorchUnpickler.View view, long storageStart) {
        boolean contiguous() {
            long expected = 1;
            for (int axis = view.shape().length - 1; axis >= 0; axis--) {
                if (view.shape()[axis] != 1 && view.stride()[axis] != expected) {
                    return info.elements() == 0;
                }
                expected *= view.shape()[axis];
            }
            return true;
        }
    }

    /** The elements of a tensor that is not stored row by row, put in that order. */
    private record Gathered(String name, ByteBuffer bytes) {}

    /** Bytes of a file. */
    record Range(long start, long length) {}

    private TorchPickleFile(RangedFile file, Map<String, Stored> stored) {
        this.file = file;
        this.stored = stored;
        stored.forEach((name, tensor) -> tensors.put(name, tensor.info()));
    }

    /** Opens {@code name} in {@code folder} and checks what it says of its tensors. */
    public static TorchPickleFile open(Folder folder, String name) {
        RangedFile file = folder.open(name);
        try {
            return new TorchPickleFile(file, contents(file));
        } catch (RuntimeException e) {
            file.close();
            throw e;
        }
    }

    private static Map<String, Stored> contents(RangedFile file) {
        byte[] start = new byte[(int) Math.min(8, file.length())];
        file.read(0, ByteBuffer.wrap(start));
        String letters = new String(start, StandardCharsets.ISO_8859_1);
        if (letters.startsWith("PK\3\4")) {
            return ofArchive(file);
        } else if (letters.startsWith(STREAM_START)) {
            return ofStream(file);
        } else if (letters.equals("version ")) {
            throw new WeightsException("%s is a Git LFS pointer, not the weights; run 'git lfs pull' in its folder"
                    .formatted(file.path()));
        }
        throw new PickleBytes(file, 0, file.length()).damaged("it starts as neither of the two forms does");
    }

    private static Map<String, Stored> ofArchive(RangedFile file) {
        TorchArchive archive = TorchArchive.open(file);
        Range pickle = archive.pickle();
        PickleBytes in = pickle(file, pickle.start(), pickle.start() + pickle.length());
        Object root = new TorchUnpickler(in).read();
        Map<String, Range> storages = new LinkedHashMap<>();
        Map<String, TorchUnpickler.View> views = views(root, in);
        views.values().forEach(view -> storages.computeIfAbsent(view.storage().key(), archive::storage));
        return checked(views, storages, in);
    }

    private static PickleBytes pickle(RangedFile file, long start, long end) {
        PickleBytes in = new PickleBytes(file, start, end);
        if (end - start > MAX_PICKLE) {
            throw in.damaged("the list of its tensors has %d bytes, more than %d".formatted(end - start, MAX_PICKLE));
        }
        return in;
    }

    /** Five pickles: a magic number, the version, sizes of C's types, the tensors, the names of the storages; then their bytes. */
    private static Map<String, Stored> ofStream(RangedFile file) {
        PickleBytes in = pickle(file, 0, Math.min(file.length(), MAX_PICKLE));
        TorchUnpickler unpickler = new TorchUnpickler(in);
        if (!STREAM_MAGIC.equals(unpickler.read())) {
            throw in.damaged("its magic number is wrong");
        }
        if (!STREAM_VERSION.equals(unpickler.read())) {
            throw in.refused("it is a version of the old form other than %d".formatted(STREAM_VERSION));
        }
        if (!(unpickler.read() instanceof Map<?, ?> machine) || !Boolean.TRUE.equals(machine.get("little_endian"))) {
            throw in.refused("it was not written on a little-endian machine");
        }
        Map<String, TorchUnpickler.View> views = views(unpickler.read(), in);
        if (!(unpickler.read() instanceof List<?> keys)) {
            throw in.damaged("it has no list of storages");
        }
        return checked(views, streamed(file, in, keys, views), in);
    }

    /** Each storage is a count of elements, then the elements; their size is known from the tensors. */
    private static Map<String, Range> streamed(
            RangedFile file, PickleBytes in, List<?> keys, Map<String, TorchUnpickler.View> views) {
        Map<String, Integer> widths = new LinkedHashMap<>();
        views.values()
                .forEach(view ->
                        widths.put(view.storage().key(), view.storage().type().bytes()));
        Map<String, Range> storages = new LinkedHashMap<>();
        long position = in.position();
        for (Object key : keys) {
            if (!(key instanceof String name) || !widths.containsKey(name)) {
                throw in.damaged("it holds a storage that no tensor lies in");
            }
            PickleBytes count = new PickleBytes(file, position, file.length());
            long elements = count.int64();
            long left = file.length() - count.position();
            if (elements < 0 || elements > left / widths.get(name)) {
                throw in.damaged("storage %s has %d elements, more than the file".formatted(name, elements));
            }
            storages.put(name, new Range(count.position(), elements * widths.get(name)));
            position = count.position() + elements * widths.get(name);
        }
        return storages;
    }

    private static Map<String, TorchUnpickler.View> views(Object root, PickleBytes in) {
        if (!(root instanceof Map<?, ?> entries)) {
            throw in.refused("it holds no dict of tensors");
        }
        Map<String, TorchUnpickler.View> views = new LinkedHashMap<>();
        entries.forEach((name, value) -> {
            if (!(name instanceof String text) || !(value instanceof TorchUnpickler.View view)) {
                throw in.refused(
                        "its entry %s is no tensor (a training checkpoint rather than weights?)".formatted(name));
            }
            views.put(text, view);
        });
        return views;
    }

    private static Map<String, Stored> checked(
            Map<String, TorchUnpickler.View> views, Map<String, Range> storages, PickleBytes in) {
        Map<String, Stored> tensors = new LinkedHashMap<>();
        views.forEach((name, view) -> {
            Range range = storages.get(view.storage().key());
            if (range == null) {
                throw in.damaged("tensor %s lies in storage %s, which is not there"
                        .formatted(name, view.storage().key()));
            }
            tensors.put(name, checked(name, view, range, in));
        });
        return tensors;
    }

    private static Stored checked(String name, TorchUnpickler.View view, Range range, PickleBytes in) {
        DataType type = view.storage().type();
        long available = Math.min(view.storage().elements(), range.length() / type.bytes());
        if (!liesWithin(available, view)) {
            throw in.damaged(
                    "tensor %s, shape %s, strides %s, from element %d, does not lie within the %d elements of its storage"
                            .formatted(
                                    name,
                                    Arrays.toString(view.shape()),
                                    Arrays.toString(view.stride()),
                                    view.offset(),
                                    available));
        }
        TensorInfo info = new TensorInfo(name, type, view.shape(), view.offset() * type.bytes());
        return new Stored(info, view, range.start());
    }

    private static boolean liesWithin(long available, TorchUnpickler.View view) {
        try {
            return view.shape().length == view.stride().length
                    && view.offset() >= 0
                    && view.offset() <= available
                    && Arrays.stream(view.shape()).allMatch(length -> length >= 0)
                    && Arrays.stream(view.stride()).allMatch(stride -> stride >= 0)
                    && Math.multiplyExact(Shapes.elements(view.shape()), (long) Double.BYTES) >= 0
                    && endOf(view) <= available;
        } catch (ArithmeticException e) { // more elements or further away than a file can be long
            return false;
        }
    }

    /** The element behind the last one that the view reaches. */
    private static long endOf(TorchUnpickler.View view) {
        long last = view.offset();
        for (int axis = 0; axis < view.shape().length; axis++) {
            if (view.shape()[axis] == 0) {
                return 0;
            }
            last = Math.addExact(last, Math.multiplyExact(view.shape()[axis] - 1, view.stride()[axis]));
        }
        return Math.addExact(last, 1);
    }

    @Override
    public String path() {
        return file.path();
    }

    @Override
    public Map<String, TensorInfo> tensors() {
        return Collections.unmodifiableMap(tensors);
    }

    @Override
    public void read(String name, long byteOffset, ByteBuffer into) {
        TensorInfo info = info(name);
        if (byteOffset < 0 || byteOffset + into.remaining() > info.byteLength()) {
            throw new IllegalArgumentException("bytes %d..%d of %s, which has %d"
                    .formatted(byteOffset, byteOffset + into.remaining(), info, info.byteLength()));
        }
        Stored tensor = Objects.requireNonNull(stored.get(name)); // info(name) has seen it
        if (tensor.contiguous()) {
            file.read(tensor.storageStart() + info.offset() + byteOffset, into);
        } else {
            into.put(gathered(tensor).slice((int) byteOffset, into.remaining()));
        }
    }

    /** One at a time is kept: a tensor is read block by block, and few are stored out of order. */
    private synchronized ByteBuffer gathered(Stored tensor) {
        Gathered last = gathered;
        if (last == null || !last.name().equals(tensor.info().name())) {
            last = new Gathered(tensor.info().name(), gather(tensor));
            gathered = last;
        }
        return last.bytes();
    }

    private ByteBuffer gather(Stored tensor) {
        TorchUnpickler.View view = tensor.view();
        int width = tensor.info().type().bytes();
        long span = (endOf(view) - view.offset()) * width;
        if (Math.max(span, tensor.info().byteLength()) > Integer.MAX_VALUE - 8) {
            throw new WeightsException(
                    "%s: tensor %s is not stored row by row and has more than 2 GiB; save it with .contiguous()"
                            .formatted(path(), tensor.info()));
        }
        ByteBuffer source = ByteBuffer.allocate((int) span);
        file.read(tensor.storageStart() + tensor.info().offset(), source);
        ByteBuffer target = ByteBuffer.allocate((int) tensor.info().byteLength());
        long[] index = new long[view.shape().length];
        while (target.hasRemaining()) {
            long element = 0;
            for (int axis = 0; axis < index.length; axis++) {
                element += index[axis] * view.stride()[axis];
            }
            target.put(source.slice((int) element * width, width));
            for (int axis = index.length - 1; axis >= 0 && ++index[axis] == view.shape()[axis]; axis--) {
                index[axis] = 0;
            }
        }
        return target.flip();
    }

    @Override
    public void close() {
        file.close();
    }
}
