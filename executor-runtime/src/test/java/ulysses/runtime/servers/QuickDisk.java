package ulysses.runtime.servers;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/** Folders that live as long as this JVM, in memory where the machine has such a disk: what tests write they also sync, thousands of times. */
public final class QuickDisk {
    private static final Path MEMORY = Path.of("/dev/shm");

    private QuickDisk() {}

    /** A new folder. */
    public static Path folder(String name) {
        try {
            Path parent = Files.isWritable(MEMORY) ? MEMORY : Files.createDirectories(Path.of("target", "disk"));
            Path folder = Files.createTempDirectory(parent, "ulysses-" + name).toAbsolutePath();
            Runtime.getRuntime().addShutdownHook(new Thread(() -> delete(folder), "delete " + folder));
            return folder;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static void delete(Path folder) {
        try (Stream<Path> found = Files.walk(folder)) {
            List<Path> all = found.sorted(Comparator.reverseOrder()).toList();
            for (Path path : all) {
                Files.deleteIfExists(path);
            }
        } catch (IOException e) {
            // a server may still write there while it ends
        }
    }
}
