package ulysses.runtime.checkpoint;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.StorageException;

/**
 * A run that saves until its disk is full: {@code main FOLDER FIRST_STEP}. Prints the last step that was saved, the newest one that can
 * be loaded, whether a file is left without its name, and what the user is told.
 */
final class FullDisk {
    private static final int MOST_STEPS = 10_000;

    private FullDisk() {}

    public static void main(String[] arguments) throws Exception {
        Path path = Path.of(arguments[0]);
        Folder folder = Folder.at(path.toString(), new Configuration(false));
        ModelDirectory model = ModelDirectory.open(folder.folder("model"));
        long step = Long.parseLong(arguments[1]);
        try {
            for (; step < MOST_STEPS; step++) {
                CheckpointRun.save(folder.folder("out"), model, 1, step, 2);
            }
        } catch (StorageException full) {
            CheckpointStore store = new CheckpointStore(folder.folder("out"));
            Optional<Checkpoint> newest =
                    store.newest(Checkpoint.Check.CHECKSUMS).checkpoint();
            try (var files = Files.walk(path)) {
                System.out.printf(
                        "saved %d%nnewest %s%nunfinished %s%n%s%n",
                        step - 1,
                        newest.map(found -> found.manifest().state().step()).orElse(-1L),
                        files.anyMatch(file -> file.toString().endsWith(".unfinished")),
                        full.getMessage());
            }
        }
    }
}
