package ulysses.driver.plan;

import java.io.IOException;
import java.io.OutputStream;
import java.util.Optional;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;

/** Finds out before the run whether a folder can hold its checkpoints: creates, lists, reads the length of and deletes one small file. */
record OutputProbe(Configuration hadoop) {

    /**
     * Empty when {@code folder} works; the folder is made if it is missing.
     *
     * @param key the setting that names it
     */
    Optional<Problem> probe(String key, String folder) {
        try {
            Path path = new Path(folder);
            FileSystem files = path.getFileSystem(hadoop);
            files.mkdirs(path);
            Path file = new Path(path, ".probe-" + UUID.randomUUID());
            try {
                write(files, file);
                expectListed(files, path, file);
            } finally {
                files.delete(file, false);
            }
            return Optional.empty();
        } catch (IOException | IllegalArgumentException e) {
            return Optional.of(new Problem(
                    key,
                    folder,
                    "can't be written to (%s: %s)".formatted(e.getClass().getSimpleName(), e.getMessage()),
                    "choose a folder that this user can write to, reachable from every host"));
        }
    }

    private static void write(FileSystem files, Path file) throws IOException {
        try (OutputStream out = files.create(file, false)) {
            out.write(1);
        }
    }

    private static void expectListed(FileSystem files, Path folder, Path file) throws IOException {
        for (FileStatus status : files.listStatus(folder)) {
            if (status.getPath().getName().equals(file.getName()) && status.getLen() == 1) {
                return;
            }
        }
        throw new IOException("a file that was just written is not listed");
    }
}
