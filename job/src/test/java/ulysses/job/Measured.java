package ulysses.job;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;

/** Differences that tests found, one a line in {@code target/measured.txt}: how far from their limits the numbers are. */
final class Measured {
    private static final Path FILE = Path.of("target", "measured.txt");

    private Measured() {}

    static synchronized void note(String line) {
        try {
            Files.writeString(FILE, line + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
