package ulysses.runtime.data;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.time.Duration;
import java.util.Optional;
import java.util.concurrent.locks.LockSupport;
import java.util.zip.CRC32C;
import java.util.zip.CheckedInputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Path;
import org.jspecify.annotations.Nullable;

/**
 * The files of one folder on any Hadoop file system, brought to local disk where they are not there yet. Copies are kept in the
 * scratch directory under the name of the folder, and found by ranks of the same host that come later.
 */
final class FolderFiles {
    /** Chosen, not tuned: manifests of 100 000 shards have some 10 MB. */
    private static final long MAX_TEXT_BYTES = 256L << 20;

    private static final Duration LOCK_TIMEOUT = Duration.ofHours(1);
    private static final Duration LOCK_POLL = Duration.ofMillis(100);

    private final FileSystem fileSystem;
    private final Path folder;
    private final java.nio.file.Path scratch;

    private FolderFiles(FileSystem fileSystem, Path folder, java.nio.file.Path scratch) {
        this.fileSystem = fileSystem;
        this.folder = folder;
        this.scratch = scratch;
    }

    static FolderFiles of(String folder, java.nio.file.Path scratch, Configuration hadoop) throws IOException {
        Path path = new Path(folder);
        FileSystem fileSystem = path.getFileSystem(hadoop);
        return new FolderFiles(fileSystem, fileSystem.makeQualified(path), scratch);
    }

    /** The whole of a small file, if it is there. */
    Optional<byte[]> text(String name) throws IOException {
        Path path = new Path(folder, name);
        try {
            long length = fileSystem.getFileStatus(path).getLen();
            if (length > MAX_TEXT_BYTES) {
                throw new DataException("%s has %d bytes; the limit is %d".formatted(path, length, MAX_TEXT_BYTES));
            }
            try (InputStream in = fileSystem.open(path)) {
                return Optional.of(in.readAllBytes());
            }
        } catch (FileNotFoundException e) {
            return Optional.empty();
        }
    }

    /** Length of a file in bytes; refuses one that is missing. */
    long length(String name) throws IOException {
        try {
            return fileSystem.getFileStatus(new Path(folder, name)).getLen();
        } catch (FileNotFoundException e) {
            throw new DataException(
                    "%s/%s is missing although the folder lists it; prepare the data again".formatted(folder, name), e);
        }
    }

    /** What is wrong with a file that a manifest lists; reads all of it, without a copy. */
    Optional<String> problem(PackedManifest.FileEntry entry) throws IOException {
        Path path = new Path(folder, entry.name());
        if (!fileSystem.exists(path)) {
            return Optional.of(path + " is missing");
        }
        long length = fileSystem.getFileStatus(path).getLen();
        if (length != entry.length()) {
            return Optional.of("%s has %d bytes instead of %d".formatted(path, length, entry.length()));
        }
        CRC32C checksum = new CRC32C();
        try (InputStream in = new CheckedInputStream(fileSystem.open(path), checksum)) {
            in.transferTo(OutputStream.nullOutputStream());
        }
        String found = PackedManifest.checksum(checksum.getValue());
        return found.equals(entry.crc32c())
                ? Optional.empty()
                : Optional.of("%s has CRC32C %s instead of %s".formatted(path, found, entry.crc32c()));
    }

    /** The file on local disk: itself, or a copy, made when there is none of the file's length and time. */
    java.nio.file.Path local(String name) throws IOException {
        length(name);
        Path source = new Path(folder, name);
        if (fileSystem instanceof LocalFileSystem local) {
            return local.pathToFile(source).toPath();
        }
        java.nio.file.Path copy = copyOf(source);
        try (FileChannel lockFile = FileChannel.open(
                        copy.resolveSibling("lock"), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
                FileLock lock = lock(lockFile)) {
            if (!Files.isRegularFile(copy)) {
                copy(source, copy);
            }
        }
        return copy;
    }

    /** Forgets a copy that turned out to be damaged; false if the file is read in place. */
    boolean discardCopy(String name) throws IOException {
        return !(fileSystem instanceof LocalFileSystem) && Files.deleteIfExists(copyOf(new Path(folder, name)));
    }

    private java.nio.file.Path copyOf(Path source) throws IOException {
        FileStatus status = fileSystem.getFileStatus(source);
        String version = "%s %d %d".formatted(folder, status.getLen(), status.getModificationTime());
        java.nio.file.Path directory = scratch.resolve("rows-" + checksum(version));
        Files.createDirectories(directory);
        return directory.resolve(source.getName());
    }

    /** Waits for other ranks of this host that copy into the same directory. */
    private static FileLock lock(FileChannel file) throws IOException {
        long deadline = System.nanoTime() + LOCK_TIMEOUT.toNanos();
        while (System.nanoTime() < deadline) {
            FileLock lock = tryLock(file);
            if (lock != null) {
                return lock;
            }
            LockSupport.parkNanos(LOCK_POLL.toNanos());
        }
        throw new IOException(
                "another rank of this host has been copying rows for %s; see whether it hangs".formatted(LOCK_TIMEOUT));
    }

    private static @Nullable FileLock tryLock(FileChannel file) throws IOException {
        try {
            return file.tryLock();
        } catch (OverlappingFileLockException e) {
            return null; // a thread of this process has it
        }
    }

    private void copy(Path source, java.nio.file.Path target) throws IOException {
        java.nio.file.Path part = Files.createTempFile(target.getParent(), "copy", ".part");
        try (InputStream in = fileSystem.open(source);
                OutputStream out = Files.newOutputStream(part)) {
            in.transferTo(out);
            Files.move(part, target, StandardCopyOption.ATOMIC_MOVE);
        } catch (IOException failure) {
            throw new IOException("can't copy %s to %s: %s".formatted(source, target, failure.getMessage()), failure);
        } finally {
            Files.deleteIfExists(part);
        }
    }

    /** CRC32C of a local file, as manifests spell it. */
    static String checksum(java.nio.file.Path file) throws IOException {
        CRC32C checksum = new CRC32C();
        try (FileChannel channel = FileChannel.open(file, StandardOpenOption.READ)) {
            ByteBuffer bytes = ByteBuffer.allocateDirect(1 << 20);
            while (channel.read(bytes) >= 0) {
                checksum.update(bytes.flip());
                bytes.clear();
            }
        }
        return PackedManifest.checksum(checksum.getValue());
    }

    private static String checksum(String text) {
        CRC32C checksum = new CRC32C();
        checksum.update(text.getBytes(StandardCharsets.UTF_8));
        return PackedManifest.checksum(checksum.getValue());
    }

    @Override
    public String toString() {
        return folder.toString();
    }
}
