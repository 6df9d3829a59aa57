package ulysses.driver.packing;

import java.io.Closeable;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;

/** Token ids and labels that wait on local disk for their row; memory holds one number each. The file goes with {@link #close}. */
final class SpilledExamples implements Closeable {
    private final Path path;
    private final FileChannel file;
    private final List<Long> positions = new ArrayList<>();
    private final List<Integer> lengths = new ArrayList<>();
    private long end;

    SpilledExamples() throws IOException {
        path = Files.createTempFile("packing", ".ids");
        file = FileChannel.open(
                path, StandardOpenOption.READ, StandardOpenOption.WRITE, StandardOpenOption.DELETE_ON_CLOSE);
    }

    void add(EncodedExample example) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(Math.multiplyExact(example.length(), 2 * Integer.BYTES));
        bytes.asIntBuffer().put(example.ids()).put(example.labels());
        positions.add(end);
        lengths.add(example.length());
        while (bytes.hasRemaining()) {
            end += file.write(bytes, end);
        }
    }

    /** Forgets all examples. */
    void clear() {
        positions.clear();
        lengths.clear();
        end = 0;
    }

    int count() {
        return positions.size();
    }

    int length(int example) {
        return lengths.get(example);
    }

    /** Copies {@code count} ids and labels from {@code from} on to {@code at}. */
    void copy(int example, int from, int count, Target target, int at) throws IOException {
        long ids = positions.get(example) + (long) from * Integer.BYTES;
        read(ids, target.ids(), at, count);
        read(ids + (long) lengths.get(example) * Integer.BYTES, target.labels(), at, count);
    }

    /** Where ids and labels of a row are put together. */
    @SuppressWarnings("ArrayRecordComponent") // filled in place
    record Target(int[] ids, int[] labels) {}

    private void read(long position, int[] into, int at, int count) throws IOException {
        ByteBuffer bytes = ByteBuffer.allocate(count * Integer.BYTES);
        while (bytes.hasRemaining()) {
            if (file.read(bytes, position + bytes.position()) < 0) {
                throw new IOException(
                        "%s became shorter while rows were packed; see whether the disk is full".formatted(path));
            }
        }
        bytes.flip().asIntBuffer().get(into, at, count);
    }

    @Override
    public void close() throws IOException {
        file.close();
        Files.deleteIfExists(path);
    }
}
