package ulysses.runtime.checkpoint;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.zip.CRC32C;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.StorageException;

/**
 * All checkpoints of a run: {@code checkpoint-N/attempt-A-xxxxxxxx/...} holds data, {@code checkpoint-N/MANIFEST.json} makes it
 * complete. The same rules on local disk, HDFS and S3: nothing is renamed, the manifest is created last and only if there is none,
 * and it is deleted first. {@code LATEST} is for people; what counts is the list.
 */
public final class CheckpointStore {
    private static final Pattern FOLDER = Pattern.compile("checkpoint-(\\d{1,18})");
    private static final String ATTEMPT = "attempt-";
    private static final String LATEST = "LATEST";

    private final Folder root;
    private final Runnable progress;

    /** The checkpoints in {@code root}, which need not exist. */
    public CheckpointStore(Folder root) {
        this(root, () -> {});
    }

    /** The same; {@code progress} is told of each block that is read to be checked. */
    public CheckpointStore(Folder root, Runnable progress) {
        this.root = root;
        this.progress = progress;
    }

    /**
     * What {@link #newest} found.
     *
     * @param checkpoint the newest complete and undamaged one
     * @param warnings one for each newer one that was passed over
     */
    public record Newest(Optional<Checkpoint> checkpoint, List<String> warnings) {
        public Newest {
            warnings = List.copyOf(warnings);
        }
    }

    /** Name of the folder that the ranks of one attempt write to: equal on all of them, different for every attempt of every run. */
    public static String attemptFolder(int attempt, String runId) {
        return ATTEMPT + attempt + runSuffix(runId);
    }

    private static String runSuffix(String runId) {
        CRC32C hash = new CRC32C();
        hash.update(runId.getBytes(StandardCharsets.UTF_8));
        return "-%08x".formatted(hash.getValue());
    }

    /** The folder of the checkpoint of {@code step}. */
    public Folder folder(long step) {
        return root.folder("checkpoint-" + step);
    }

    /** Steps of all checkpoints that have a manifest, newest first. */
    public List<Long> completeSteps() {
        return steps().stream()
                .filter(step -> folder(step).has(CheckpointManifest.FILE))
                .toList();
    }

    private List<Long> steps() {
        return root.list().stream()
                .filter(Folder.Entry::isFolder)
                .map(entry -> stepOf(entry.name()))
                .filter(OptionalLong::isPresent)
                .map(OptionalLong::getAsLong)
                .sorted(Comparator.reverseOrder())
                .toList();
    }

    private static OptionalLong stepOf(String name) {
        Matcher matcher = FOLDER.matcher(name);
        return matcher.matches() ? OptionalLong.of(Long.parseLong(matcher.group(1))) : OptionalLong.empty();
    }

    /** The checkpoint in {@code folder}, which may lie elsewhere; see {@link Checkpoint#open(Folder, Checkpoint.Check)}. */
    public Checkpoint open(Folder folder, Checkpoint.Check check) {
        return Checkpoint.open(folder, check, progress);
    }

    /**
     * The newest checkpoint that is complete and passes {@code check}; a damaged one is passed over with a warning.
     *
     * @throws StorageException when one that is newer can't be read now, or only by a newer program: it may be whole
     */
    public Newest newest(Checkpoint.Check check) {
        return newest(completeSteps(), check);
    }

    /** The same among the checkpoints that attempts of the run {@code runId} wrote. */
    public Newest newestOf(String runId, Checkpoint.Check check) {
        String suffix = runSuffix(runId) + "\"";
        List<Long> own = completeSteps().stream()
                .filter(step -> folder(step).readText(CheckpointManifest.FILE).contains(suffix))
                .toList();
        return newest(own, check);
    }

    private Newest newest(List<Long> steps, Checkpoint.Check check) {
        List<String> warnings = new ArrayList<>();
        for (long step : steps) {
            try {
                return new Newest(Optional.of(open(folder(step), check)), warnings);
            } catch (DamagedCheckpointException e) {
                warnings.add("checkpoint-%d is passed over: %s".formatted(step, e.getMessage()));
            } catch (StorageException e) {
                throw new StorageException(
                        "checkpoint-%d can't be read but may be whole, so no older one is taken in its place and none is removed: %s"
                                .formatted(step, e.getMessage()),
                        e);
            }
        }
        return new Newest(Optional.empty(), warnings);
    }

    /**
     * Makes the checkpoint complete. If another attempt was first, throws {@link StorageException}; if this one's own manifest is
     * already there (a repeated call), does nothing.
     */
    Checkpoint commit(CheckpointManifest manifest) {
        Folder folder = folder(manifest.step());
        String json = manifest.toJson();
        boolean created = folder.createIfAbsent(CheckpointManifest.FILE, json.getBytes(StandardCharsets.UTF_8));
        if (!created && !folder.readText(CheckpointManifest.FILE).equals(json)) {
            throw alreadyCommitted(folder);
        }
        root.write(LATEST, (folder.path() + "\n").getBytes(StandardCharsets.UTF_8));
        return new Checkpoint(folder, manifest);
    }

    /** Refuses to write where another attempt has committed. */
    void refuseCommitted(long step, String attemptFolder) {
        Folder folder = folder(step);
        if (folder.has(CheckpointManifest.FILE)
                && !folder.readText(CheckpointManifest.FILE).contains(attemptFolder)) {
            throw alreadyCommitted(folder);
        }
    }

    private static StorageException alreadyCommitted(Folder folder) {
        return new StorageException(
                "%s was already made complete by another attempt; if no other run writes there, delete it and start again"
                        .formatted(folder.path()));
    }

    /** Keeps the newest {@code limit} complete checkpoints; 0 keeps all. */
    public void retain(int limit) {
        List<Long> complete = completeSteps();
        if (limit > 0 && complete.size() > limit) {
            complete.subList(limit, complete.size()).forEach(this::delete);
        }
    }

    /**
     * Deletes what lies after {@code step}, complete or not. Called once, by one process, before an attempt that continues from
     * {@code step} (0 from the beginning) writes anything.
     */
    public void discardAfter(long step) {
        steps().stream().filter(later -> later > step && ours(folder(later))).forEach(this::delete);
    }

    /**
     * Deletes what dead attempts left: unfinished checkpoints, and other attempts' folders beside a complete one. Called once, by one
     * process, while no other attempt is alive. Folders that other programs made are left alone.
     */
    public void collectOrphans() {
        for (long step : steps()) {
            Folder folder = folder(step);
            if (!folder.has(CheckpointManifest.FILE)) {
                if (ours(folder)) {
                    delete(step);
                }
                continue;
            }
            String manifest = folder.readText(CheckpointManifest.FILE);
            attempts(folder).stream()
                    .filter(attempt -> !manifest.contains("\"" + attempt + "\""))
                    .forEach(folder::delete);
        }
    }

    /** An empty folder is what a deletion leaves that was stopped at its end. */
    private static boolean ours(Folder folder) {
        return folder.has(CheckpointManifest.FILE)
                || !attempts(folder).isEmpty()
                || folder.list().isEmpty();
    }

    private static List<String> attempts(Folder folder) {
        return folder.list().stream()
                .filter(entry -> entry.isFolder() && entry.name().startsWith(ATTEMPT))
                .map(Folder.Entry::name)
                .toList();
    }

    /** The manifest first, so that no half of it looks complete; attempts last, so that the rest is known to be ours. */
    private void delete(long step) {
        Folder folder = folder(step);
        folder.delete(CheckpointManifest.FILE);
        folder.list().stream()
                .filter(entry -> !entry.name().startsWith(ATTEMPT))
                .forEach(entry -> folder.delete(entry.name()));
        attempts(folder).forEach(folder::delete);
        root.delete("checkpoint-" + step);
    }
}
