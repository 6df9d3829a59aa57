package ulysses.runtime.weights;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.OptionalLong;
import java.util.zip.CRC32C;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import ulysses.runtime.config.FileSystems;

/**
 * A folder on local disk or any Hadoop file system. Names are relative to it and may contain {@code /}. Every method throws {@link
 * StorageException} when the file system can't do it. Local files are written without Hadoop's checksum files beside them.
 */
public interface Folder {

    /** What lies in a folder. */
    record Entry(String name, boolean isFolder, long length) {}

    /** Writes the content of a file. */
    @FunctionalInterface
    interface Content {
        void writeTo(WritableByteChannel out) throws IOException;
    }

    /**
     * The folder at {@code path}, which need not exist; a path without scheme is one of the default file system.
     *
     * @throws ulysses.runtime.config.ConfigException if its file system is not on the class path, see {@link FileSystems}
     */
    static Folder at(String path, Configuration configuration) {
        Path folder = new Path(path);
        try {
            var fileSystem = FileSystems.of(folder, configuration);
            Path qualified = fileSystem.makeQualified(folder);
            return "file".equals(qualified.toUri().getScheme())
                    ? new LocalFolder(java.nio.file.Path.of(qualified.toUri().getPath()))
                    : new HadoopFolder(fileSystem, qualified);
        } catch (IOException | IllegalArgumentException e) {
            throw new StorageException(
                    "no file system for %s: %s; check the path's scheme and the Hadoop settings"
                            .formatted(path, e.getMessage()),
                    e);
        }
    }

    /** Its path, for messages. */
    String path();

    /** The folder {@code name} inside this one. */
    Folder folder(String name);

    /** Whether it exists and is a folder. */
    boolean exists();

    /** What lies in it, sorted by name; nothing when it does not exist. */
    List<Entry> list();

    /** Bytes of the file {@code name}; empty when there is no such file. */
    OptionalLong length(String name);

    /** Opens the file {@code name} for reading. */
    RangedFile open(String name);

    /** Writes the file {@code name}, replacing one that is there; when it returns, the bytes are durable. */
    WrittenFile write(String name, Content content);

    /** Writes the file {@code name} if there is none: true, or false when another writer was first. */
    boolean createIfAbsent(String name, byte[] bytes);

    /** Adds to the end of the file {@code name}, which is made if there is none. */
    void append(String name, byte[] bytes);

    /** Deletes the file, or the folder with all it holds; does nothing when it is not there. */
    void delete(String name);

    /** Path of the file {@code name}, for messages. */
    default String path(String name) {
        return path() + "/" + name;
    }

    /** Whether there is a file {@code name}. */
    default boolean has(String name) {
        return length(name).isPresent();
    }

    /** Writes {@code bytes} as the file {@code name}. */
    default WrittenFile write(String name, byte[] bytes) {
        return write(name, out -> out.write(ByteBuffer.wrap(bytes)));
    }

    /** All bytes of a small file. */
    default byte[] read(String name) {
        try (RangedFile file = open(name)) {
            if (file.length() > Integer.MAX_VALUE / 4) {
                throw new StorageException("%s has %d bytes, more than a file of its kind can have; check what it is"
                        .formatted(file.path(), file.length()));
            }
            byte[] bytes = new byte[(int) file.length()];
            file.read(0, ByteBuffer.wrap(bytes));
            return bytes;
        }
    }

    /** All of a small UTF-8 file. */
    default String readText(String name) {
        return new String(read(name), StandardCharsets.UTF_8);
    }

    /**
     * CRC-32C of all bytes of a file.
     *
     * @param progress is told of each block that is read
     */
    default long crc32c(String name, Runnable progress) {
        CRC32C checksum = new CRC32C();
        ByteBuffer block = ByteBuffer.allocate(1 << 22);
        try (RangedFile file = open(name)) {
            for (long position = 0; position < file.length(); position += block.limit()) {
                block.clear().limit((int) Math.min(block.capacity(), file.length() - position));
                file.read(position, block);
                checksum.update(block.flip());
                progress.run();
            }
        }
        return checksum.getValue();
    }
}
