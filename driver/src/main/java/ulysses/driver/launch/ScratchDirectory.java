package ulysses.driver.launch;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;

/** A directory that only this user can read, until it is closed. */
public record ScratchDirectory(Path path) implements AutoCloseable {

    /** Makes a new one in {@code parent}; its name begins with {@code prefix}. */
    static ScratchDirectory in(Path parent, String prefix) throws IOException {
        return new ScratchDirectory(Files.createTempDirectory(Files.createDirectories(parent), prefix));
    }

    /** Makes a new one where this machine keeps temporary files. */
    public static ScratchDirectory temporary(String prefix) throws IOException {
        return new ScratchDirectory(Files.createTempDirectory(prefix));
    }

    /** Deletes it and all in it. */
    @Override
    public void close() {
        try {
            Files.walkFileTree(path, new Deletion());
        } catch (IOException e) {
            throw new UncheckedIOException("can't delete " + path, e);
        }
    }

    private static final class Deletion extends SimpleFileVisitor<Path> {
        @Override
        public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) throws IOException {
            Files.deleteIfExists(file);
            return FileVisitResult.CONTINUE;
        }

        @Override
        @SuppressWarnings("NullAway") // the supertype is not annotated; the visitor passes null when all went well
        public FileVisitResult postVisitDirectory(Path directory, IOException failure) throws IOException {
            if (failure != null) {
                throw failure;
            }
            Files.deleteIfExists(directory);
            return FileVisitResult.CONTINUE;
        }
    }
}
