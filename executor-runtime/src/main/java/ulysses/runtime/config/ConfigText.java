package ulysses.runtime.config;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.hadoop.conf.Configuration;

/** The text of a configuration file, from local disk or any Hadoop file system. */
final class ConfigText {
    private ConfigText() {}

    /**
     * Reads a file. A path without scheme is a local file of the working directory, as in LLaMA-Factory; only if there is none
     * is Hadoop's default file system asked.
     *
     * @throws ConfigException if it can't be read
     */
    static String read(String path, Configuration hadoop) {
        try {
            Path local = Path.of(path);
            if (!path.contains(":") && Files.isDirectory(local)) {
                throw new ConfigException(path, List.of(path + " is a folder; name a file in it"));
            }
            if (!path.contains(":") && Files.isRegularFile(local)) {
                return Files.readString(local);
            }
            org.apache.hadoop.fs.Path remote = new org.apache.hadoop.fs.Path(path);
            try (InputStream stream = FileSystems.of(remote, hadoop).open(remote)) {
                return new String(stream.readAllBytes(), StandardCharsets.UTF_8);
            }
        } catch (FileNotFoundException missing) {
            throw new ConfigException(
                    path,
                    List.of("%s does not exist; relative paths start at %s"
                            .formatted(path, Path.of("").toAbsolutePath())));
        } catch (IOException | IllegalArgumentException unreadable) {
            throw new ConfigException(
                    path,
                    List.of("%s can't be read: %s; check the path and its permissions"
                            .formatted(path, unreadable.getMessage())));
        }
    }
}
