package ulysses.runtime.weights;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The zip archive of torch.save: {@code NAME/data.pkl} and {@code NAME/data/KEY}, all stored as they are. Read by position, so that a
 * file on HDFS or S3 is not copied first; 64-bit sizes as in APPNOTE 6.3, §4.3.14 and §4.5.3.
 */
final class TorchArchive {
    private static final String PICKLE = "/data.pkl";
    private static final int END = 0x06054b50;
    private static final int END_64 = 0x06064b50;
    private static final int END_64_LOCATOR = 0x07064b50;
    private static final int ENTRY = 0x02014b50;
    private static final int LOCAL = 0x04034b50;
    private static final int END_BYTES = 22;
    private static final int ENTRY_BYTES = 46;
    private static final int LOCAL_BYTES = 30;
    private static final int LOCATOR_BYTES = 20;
    private static final int END_64_BYTES = 56;
    private static final int EXTRA_64 = 1;
    private static final int MAX_COMMENT = 0xffff;
    private static final long WIDE = 0xffffffffL;
    private static final long MAX_DIRECTORY = 32L << 20; // an entry takes about 100 bytes: as many as a pickle may name

    private final RangedFile file;
    private final Map<String, Entry> entries = new HashMap<>();
    private final String root;

    private record Entry(long header, long length, boolean stored) {}

    private TorchArchive(RangedFile file) {
        this.file = file;
        readDirectory();
        List<String> pickles = entries.keySet().stream()
                .filter(name -> name.indexOf('/') == name.length() - PICKLE.length() && name.endsWith(PICKLE))
                .toList();
        if (pickles.size() != 1) {
            throw damaged("it is a zip archive with %d files data.pkl instead of one".formatted(pickles.size()));
        }
        root = pickles.get(0).substring(0, pickles.get(0).length() - PICKLE.length());
        checkKind();
    }

    /** Reads the directory at the end of {@code file}. */
    static TorchArchive open(RangedFile file) {
        return new TorchArchive(file);
    }

    private void checkKind() {
        if (entries.containsKey(root + "/constants.pkl")) {
            throw new WeightsException(
                    "%s is a TorchScript program, not weights; save the model's state_dict, best as safetensors (save_pretrained)"
                            .formatted(file.path()));
        }
        Entry order = entries.get(root + "/byteorder");
        if (order != null && order.length() == "big".length()) {
            throw new WeightsException(
                    "%s was written on a big-endian machine; save the weights as safetensors (save_pretrained)"
                            .formatted(file.path()));
        }
    }

    /** Where the pickle lies. */
    TorchPickleFile.Range pickle() {
        return range(root + PICKLE);
    }

    /** Where the storage {@code key} lies. */
    TorchPickleFile.Range storage(String key) {
        return range(root + "/data/" + key);
    }

    private TorchPickleFile.Range range(String name) {
        Entry entry = entries.get(name);
        if (entry == null) {
            throw damaged("it holds no %s".formatted(name));
        }
        if (!entry.stored()) {
            throw new WeightsException("%s is compressed (%s), which torch.save never does; unzip and save it anew"
                    .formatted(file.path(), name));
        }
        ByteBuffer header = bytes(entry.header(), LOCAL_BYTES);
        if (header.getInt(0) != LOCAL) {
            throw damaged("its directory points %s to something else".formatted(name));
        }
        long start = entry.header()
                + LOCAL_BYTES
                + Short.toUnsignedInt(header.getShort(26))
                + Short.toUnsignedInt(header.getShort(28));
        if (entry.length() > file.length() - start) {
            throw damaged("%s has %d bytes, more than follow".formatted(name, entry.length()));
        }
        return new TorchPickleFile.Range(start, entry.length());
    }

    private void readDirectory() {
        End end = end();
        long size = Integer.toUnsignedLong(end.record().getInt(12));
        long start = Integer.toUnsignedLong(end.record().getInt(16));
        if (size == WIDE || start == WIDE) {
            ByteBuffer wide = wideEnd(end.position());
            size = wide.getLong(40);
            start = wide.getLong(48);
        }
        if (size < 0 || size > MAX_DIRECTORY || start < 0 || size > file.length() - start) {
            throw damaged("its directory of %s bytes does not fit".formatted(Long.toUnsignedString(size)));
        }
        ByteBuffer directory = bytes(start, (int) size);
        while (directory.hasRemaining()) {
            readEntry(directory);
        }
    }

    private record End(long position, ByteBuffer record) {}

    /** The end record: the last one in the file, with a comment of any length behind it. */
    private End end() {
        int tail = (int) Math.min(file.length(), END_BYTES + MAX_COMMENT);
        ByteBuffer bytes = bytes(file.length() - tail, tail);
        for (int at = tail - END_BYTES; at >= 0; at--) {
            if (bytes.getInt(at) == END && at + END_BYTES + Short.toUnsignedInt(bytes.getShort(at + 20)) == tail) {
                return new End(
                        file.length() - tail + at, bytes.slice(at, END_BYTES).order(ByteOrder.LITTLE_ENDIAN));
            }
        }
        throw damaged("the directory at its end is missing");
    }

    private ByteBuffer wideEnd(long end) {
        ByteBuffer locator = bytes(end - LOCATOR_BYTES, LOCATOR_BYTES);
        if (locator.getInt(0) != END_64_LOCATOR) {
            throw damaged("its 64-bit directory is missing");
        }
        ByteBuffer wide = bytes(locator.getLong(8), END_64_BYTES);
        if (wide.getInt(0) != END_64) {
            throw damaged("its 64-bit directory is missing");
        }
        return wide;
    }

    private void readEntry(ByteBuffer directory) {
        int at = directory.position();
        if (directory.remaining() < ENTRY_BYTES || directory.getInt(at) != ENTRY) {
            throw damaged("its directory has something else than an entry at byte %d".formatted(at));
        }
        int nameLength = Short.toUnsignedInt(directory.getShort(at + 28));
        int extraLength = Short.toUnsignedInt(directory.getShort(at + 30));
        int next = at + ENTRY_BYTES + nameLength + extraLength + Short.toUnsignedInt(directory.getShort(at + 32));
        if (next > directory.limit()) {
            throw damaged("its directory is cut off");
        }
        byte[] name = new byte[nameLength];
        directory.get(at + ENTRY_BYTES, name);
        ByteBuffer extra =
                directory.slice(at + ENTRY_BYTES + nameLength, extraLength).order(ByteOrder.LITTLE_ENDIAN);
        Wide wide = new Wide(wideValues(extra));
        long length = wide.of(directory.getInt(at + 24));
        long compressed = wide.of(directory.getInt(at + 20));
        long header = wide.of(directory.getInt(at + 42));
        boolean stored = directory.getShort(at + 10) == 0 && compressed == length;
        if (entries.put(new String(name, StandardCharsets.UTF_8), new Entry(header, length, stored)) != null) {
            throw damaged("it holds two files of one name");
        }
        directory.position(next);
    }

    /** The 64-bit values of an entry, for those of its fields that are too large for 32 bits, in their order. */
    private ByteBuffer wideValues(ByteBuffer extra) {
        while (extra.remaining() >= 4) {
            int kind = Short.toUnsignedInt(extra.getShort());
            int length = Math.min(Short.toUnsignedInt(extra.getShort()), extra.remaining());
            if (kind == EXTRA_64) {
                return extra.slice(extra.position(), length).order(ByteOrder.LITTLE_ENDIAN);
            }
            extra.position(extra.position() + length);
        }
        return ByteBuffer.allocate(0);
    }

    private final class Wide {
        private final ByteBuffer values;

        Wide(ByteBuffer values) {
            this.values = values;
        }

        long of(int narrow) {
            if (Integer.toUnsignedLong(narrow) != WIDE) {
                return Integer.toUnsignedLong(narrow);
            }
            long value = values.remaining() < Long.BYTES ? -1 : values.getLong();
            if (value < 0 || value > file.length()) {
                throw damaged("an entry of its directory lies outside of the file");
            }
            return value;
        }
    }

    private ByteBuffer bytes(long position, int count) {
        if (position < 0 || position > file.length() - count) {
            throw damaged("it refers to byte %d of %d".formatted(position, file.length()));
        }
        ByteBuffer bytes = ByteBuffer.allocate(count).order(ByteOrder.LITTLE_ENDIAN);
        file.read(position, bytes);
        return bytes.flip();
    }

    private WeightsException damaged(String reason) {
        return new WeightsException("%s is damaged, cut off or no file of torch.save: %s; copy or download it again"
                .formatted(file.path(), reason));
    }
}
