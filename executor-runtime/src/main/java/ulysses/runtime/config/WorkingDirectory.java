package ulysses.runtime.config;

import java.io.IOException;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.jspecify.annotations.Nullable;

/**
 * Relative paths of a configuration, made absolute once where it is read: executors and ranks have working directories of their
 * own. A path without scheme is one of the default file system; a local one stays without scheme.
 */
final class WorkingDirectory {
    private final Configuration hadoop;

    WorkingDirectory(Configuration hadoop) {
        this.hadoop = hadoop;
    }

    /** The same place as {@code path}, null for null; as it is when no file system knows its scheme, which is reported on use. */
    @Nullable
    String absolute(@Nullable String path) {
        return path == null ? null : anchored(path);
    }

    /** As {@link #absolute} for a folder that is there; anything else, such as the id of a model on the hub, stays as it is. */
    String absoluteIfThere(String path) {
        try {
            Path folder = new Path(path);
            return FileSystems.of(folder, hadoop).exists(folder) ? anchored(path) : path;
        } catch (IOException | IllegalArgumentException e) {
            return path;
        }
    }

    String anchored(String path) {
        try {
            FileSystem fileSystem = FileSystems.of(new Path(path), hadoop);
            Path qualified = fileSystem.makeQualified(new Path(path));
            boolean local = "file".equals(qualified.toUri().getScheme());
            return local ? qualified.toUri().getPath() : qualified.toString();
        } catch (IOException | IllegalArgumentException e) {
            return path;
        }
    }
}
