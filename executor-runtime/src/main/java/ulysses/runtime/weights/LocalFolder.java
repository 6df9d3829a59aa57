package ulysses.runtime.weights;

import static java.nio.file.StandardOpenOption.APPEND;
import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.CREATE_NEW;
import static java.nio.file.StandardOpenOption.READ;
import static java.nio.file.StandardOpenOption.TRUNCATE_EXISTING;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.EOFException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.LinkOption;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.OpenOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.OptionalLong;
import java.util.stream.Stream;

/** A folder on local disk: files are synced before they get their name, and names before a method returns. */
record LocalFolder(Path root) implements Folder {
    /** What the system says of a name below a file: nothing is there. */
    private static final String NOT_A_DIRECTORY = "Not a directory";

    @Override
    public String path() {
        return root.toString();
    }

    /** Names may come from files that others wrote. */
    private Path at(String name) {
        try {
            return root.resolve(name);
        } catch (InvalidPathException impossible) {
            throw StorageException.impossibleName(name, path(), impossible);
        }
    }

    @Override
    public Folder folder(String name) {
        return new LocalFolder(at(name));
    }

    @Override
    public boolean exists() {
        return Files.isDirectory(root);
    }

    @Override
    public List<Entry> list() {
        try (Stream<Path> paths = Files.list(root)) {
            List<Entry> entries = new ArrayList<>();
            for (Path path : paths.sorted().toList()) {
                boolean isFolder = Files.isDirectory(path);
                entries.add(new Entry(nameOf(path), isFolder, isFolder ? 0 : Files.size(path)));
            }
            return entries;
        } catch (NoSuchFileException | NotDirectoryException e) {
            return List.of();
        } catch (IOException e) {
            throw failed("list", root, e);
        }
    }

    @Override
    public OptionalLong length(String name) {
        Path file = at(name);
        try {
            BasicFileAttributes found = Files.readAttributes(file, BasicFileAttributes.class);
            return found.isRegularFile() ? OptionalLong.of(found.size()) : OptionalLong.empty();
        } catch (NoSuchFileException e) {
            return OptionalLong.empty();
        } catch (FileSystemException e) {
            if (NOT_A_DIRECTORY.equals(e.getReason())) {
                return OptionalLong.empty();
            }
            throw failed("look at", file, e);
        } catch (IOException e) {
            throw failed("look at", file, e);
        }
    }

    @Override
    public RangedFile open(String name) {
        Path file = at(name);
        try {
            FileChannel channel = FileChannel.open(file, READ);
            return new OpenFile(file, channel, channel.size());
        } catch (IOException e) {
            throw failed("open", file, e);
        }
    }

    private record OpenFile(Path file, FileChannel channel, long length) implements RangedFile {
        @Override
        public String path() {
            return file.toString();
        }

        @Override
        public void read(long position, ByteBuffer into) {
            long next = position;
            try {
                while (into.hasRemaining()) {
                    int count = channel.read(into, next);
                    if (count < 0) {
                        throw new EOFException("the file ends at byte " + next);
                    }
                    next += count;
                }
            } catch (IOException e) {
                throw failed("read", file, e);
            }
        }

        @Override
        public void close() {
            try {
                channel.close();
            } catch (IOException e) {
                throw failed("close", file, e);
            }
        }
    }

    @Override
    public WrittenFile write(String name, Content content) {
        Path file = at(name);
        Path unfinished = file.resolveSibling("." + nameOf(file) + ".unfinished");
        try {
            makeParent(file);
            WrittenFile written = writeSynced(unfinished, name, content);
            Files.move(unfinished, file, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
            syncParent(file);
            return written;
        } catch (IOException e) {
            throw failed("write", file, e);
        } finally {
            deleteQuietly(unfinished);
        }
    }

    /** After a failure its space is wanted back; after success there is nothing left. */
    private static void deleteQuietly(Path unfinished) {
        try {
            Files.deleteIfExists(unfinished);
        } catch (IOException ignored) {
            // The failure that led here is on its way to the caller and says more.
        }
    }

    private static WrittenFile writeSynced(Path file, String name, Content content) throws IOException {
        try (FileChannel channel = FileChannel.open(file, CREATE, WRITE, TRUNCATE_EXISTING)) {
            ChecksummedChannel out = new ChecksummedChannel(Channels.newOutputStream(channel));
            content.writeTo(out);
            WrittenFile written = out.summary(name);
            channel.force(true);
            return written;
        }
    }

    @Override
    public boolean createIfAbsent(String name, byte[] bytes) {
        Path file = at(name);
        try {
            makeParent(file);
            writeAll(file, bytes, WRITE, CREATE_NEW);
            syncParent(file);
            return true;
        } catch (FileAlreadyExistsException e) {
            return false;
        } catch (IOException e) {
            throw failed("create", file, e);
        }
    }

    @Override
    public void append(String name, byte[] bytes) {
        Path file = at(name);
        try {
            makeParent(file);
            writeAll(file, bytes, WRITE, CREATE, APPEND);
        } catch (IOException e) {
            throw failed("append to", file, e);
        }
    }

    private static void writeAll(Path file, byte[] bytes, OpenOption... options) throws IOException {
        try (FileChannel channel = FileChannel.open(file, options)) {
            ByteBuffer rest = ByteBuffer.wrap(bytes);
            while (rest.hasRemaining()) {
                channel.write(rest);
            }
            channel.force(true);
        }
    }

    @Override
    public void delete(String name) {
        Path target = at(name);
        if (!Files.exists(target, LinkOption.NOFOLLOW_LINKS)) {
            return;
        }
        try (Stream<Path> paths = Files.walk(target)) {
            for (Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
                Files.deleteIfExists(path);
            }
            syncParent(target);
        } catch (IOException e) {
            throw failed("delete", target, e);
        }
    }

    private static void makeParent(Path file) throws IOException {
        Path parent = file.getParent();
        if (parent != null && !Files.isDirectory(parent)) {
            Files.createDirectories(parent);
        }
    }

    /** A new name is durable only after its folder is synced. */
    private static void syncParent(Path file) throws IOException {
        Path parent = file.getParent();
        if (parent != null) {
            try (FileChannel folder = FileChannel.open(parent, READ)) {
                folder.force(true);
            }
        }
    }

    private static String nameOf(Path path) {
        Path name = path.getFileName();
        return name == null ? "" : name.toString();
    }

    private static StorageException failed(String verb, Path file, IOException cause) {
        String reason =
                cause instanceof NoSuchFileException ? "there is no such file" : String.valueOf(cause.getMessage());
        return StorageException.failed(
                verb, file, reason, "check that the path exists, its permissions and the free space", cause);
    }
}
