package ulysses.runtime.objective;

import java.nio.ByteBuffer;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.zip.CRC32C;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.weights.Folder;

/**
 * Log-probabilities of documents that a reference model gave once. On disk: magic, version, number of documents, then their keys,
 * ascending, then their sums as float64, then a CRC32C; all big-endian.
 */
public final class StoredReference implements Reference {
    private static final byte[] MAGIC = {'U', 'L', 'Y', 'S', 'R', 'E', 'F', 'S'};
    private static final int VERSION = 1;
    private static final int HEADER = 16;

    private final long[] keys;
    private final double[] sums;

    private StoredReference(long[] keys, double[] sums) {
        this.keys = keys;
        this.sums = sums;
    }

    /** Takes what a reference gives for documents; those of all ranks together make a {@link StoredReference}. */
    public static final class Collected {
        private final Map<Long, Double> sumByKey = new TreeMap<>();

        /** Notes the {@code sums} of the documents of {@code batch}. */
        public void add(MicroBatch batch, double[] sums) {
            for (int document = 0; document < sums.length; document++) {
                sumByKey.put(key(batch, document), sums[document]);
            }
        }

        /** Keys and bits of sums in turn, for other ranks. */
        public long[] entries() {
            long[] entries = new long[2 * sumByKey.size()];
            int at = 0;
            for (Map.Entry<Long, Double> entry : sumByKey.entrySet()) {
                entries[at++] = entry.getKey();
                entries[at++] = Double.doubleToRawLongBits(entry.getValue());
            }
            return entries;
        }

        /** Notes what is stored already. */
        public void addAll(StoredReference stored) {
            for (int i = 0; i < stored.keys.length; i++) {
                sumByKey.put(stored.keys[i], stored.sums[i]);
            }
        }

        /** Notes the {@link #entries} of other ranks. */
        public void addAll(long[] entries) {
            for (int i = 0; i < entries.length; i += 2) {
                sumByKey.put(entries[i], Double.longBitsToDouble(entries[i + 1]));
            }
        }

        /** All that were noted. */
        public StoredReference stored() {
            return new StoredReference(
                    sumByKey.keySet().stream().mapToLong(Long::longValue).toArray(),
                    sumByKey.values().stream().mapToDouble(Double::doubleValue).toArray());
        }
    }

    /** What a document is found again by, in whatever row it lies: 64 bits of SHA-256 over its ids and targets. */
    private static long key(MicroBatch batch, int document) {
        int from = batch.documentEnds()[document];
        int length = batch.documentEnds()[document + 1] - from;
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(length, 2 * Integer.BYTES));
        bytes.asIntBuffer().put(batch.ids(), from, length).put(batch.targets(), from, length);
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256").digest(bytes.array());
            return ByteBuffer.wrap(digest).getLong();
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java has SHA-256", e);
        }
    }

    /** Writes them as {@code name}. */
    public void write(Folder folder, String name) {
        ByteBuffer bytes = ByteBuffer.allocate(
                Math.addExact(HEADER + Long.BYTES, Math.multiplyExact(keys.length, Long.BYTES + Double.BYTES)));
        bytes.put(MAGIC).putInt(VERSION).putInt(keys.length);
        for (long key : keys) {
            bytes.putLong(key);
        }
        for (double sum : sums) {
            bytes.putDouble(sum);
        }
        bytes.putLong(checksum(bytes.array()));
        folder.write(name, bytes.array());
    }

    /** Reads what {@link #write} wrote; empty when there is no such file, or none that is whole and of this version. */
    public static Optional<StoredReference> read(Folder folder, String name) {
        if (!folder.has(name)) {
            return Optional.empty();
        }
        byte[] all = folder.read(name);
        if (all.length < HEADER + Long.BYTES || !Arrays.equals(all, 0, MAGIC.length, MAGIC, 0, MAGIC.length)) {
            return Optional.empty();
        }
        ByteBuffer bytes = ByteBuffer.wrap(all).position(MAGIC.length);
        boolean current = bytes.getInt() == VERSION;
        int count = bytes.getInt();
        long length = HEADER + (long) count * (Long.BYTES + Double.BYTES) + Long.BYTES;
        if (!current || length != all.length || bytes.getLong(all.length - Long.BYTES) != checksum(all)) {
            return Optional.empty();
        }
        StoredReference stored = new StoredReference(new long[count], new double[count]);
        bytes.asLongBuffer().get(stored.keys);
        bytes.position(HEADER + count * Long.BYTES).asDoubleBuffer().get(stored.sums);
        return Optional.of(stored);
    }

    /** CRC32C of all but the last 8 bytes. */
    private static long checksum(byte[] bytes) {
        CRC32C checksum = new CRC32C();
        checksum.update(bytes, 0, bytes.length - Long.BYTES);
        return checksum.getValue();
    }

    /** Whether it knows every document of {@code batch}. */
    public boolean knows(MicroBatch batch) {
        for (int document = 0; document < batch.documents(); document++) {
            if (Arrays.binarySearch(keys, key(batch, document)) < 0) {
                return false;
            }
        }
        return true;
    }

    @Override
    public double[] documentSums(MicroBatch batch) {
        double[] found = new double[batch.documents()];
        for (int document = 0; document < found.length; document++) {
            int place = Arrays.binarySearch(keys, key(batch, document));
            if (place < 0) {
                throw new IllegalStateException(
                        "document %d of a micro-batch has no stored reference log-probability".formatted(document));
            }
            found[document] = sums[place];
        }
        return found;
    }
}
