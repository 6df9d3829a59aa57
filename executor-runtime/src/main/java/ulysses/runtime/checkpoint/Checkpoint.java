package ulysses.runtime.checkpoint;

import java.util.OptionalLong;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.WrittenFile;

/**
 * A complete checkpoint.
 *
 * @param folder {@code checkpoint-N}
 * @param manifest what lies in it
 */
public record Checkpoint(Folder folder, CheckpointManifest manifest) {

    /** How much of a checkpoint is looked at before it is trusted. */
    public enum Check {
        /** Every file is there and has its length: quick. */
        LENGTHS,
        /** And every byte counts: reads all files once. */
        CHECKSUMS
    }

    /**
     * Opens the checkpoint in {@code folder}.
     *
     * @throws DamagedCheckpointException when it holds something else than was written
     * @throws StorageException when it is incomplete, can't be read or has a newer format
     */
    public static Checkpoint open(Folder folder, Check check) {
        return open(folder, check, () -> {});
    }

    /** The same; {@code progress} is told of each block that is read to be checked. */
    static Checkpoint open(Folder folder, Check check, Runnable progress) {
        if (!folder.has(CheckpointManifest.FILE)) {
            throw new StorageException(
                    "%s holds no %s: it was not finished or another program made it; use another checkpoint"
                            .formatted(folder.path(), CheckpointManifest.FILE));
        }
        CheckpointManifest manifest = CheckpointManifest.parse(
                folder.readText(CheckpointManifest.FILE), folder.path(CheckpointManifest.FILE));
        for (WrittenFile file : manifest.files()) {
            verify(folder, file, check, progress);
        }
        return new Checkpoint(folder, manifest);
    }

    private static void verify(Folder folder, WrittenFile file, Check check, Runnable progress) {
        OptionalLong length = folder.length(file.name());
        if (length.isEmpty()) {
            throw damaged(folder, file, "it is missing");
        }
        if (length.getAsLong() != file.length()) {
            throw damaged(folder, file, "it has %d bytes instead of %d".formatted(length.getAsLong(), file.length()));
        }
        if (check == Check.CHECKSUMS && folder.crc32c(file.name(), progress) != file.crc32c()) {
            throw damaged(folder, file, "its checksum does not match");
        }
    }

    private static StorageException damaged(Folder folder, WrittenFile file, String reason) {
        return new DamagedCheckpointException(
                "checkpoint file %s is damaged: %s; use the checkpoint before it"
                        .formatted(folder.path(file.name()), reason),
                null);
    }

    /** Where the run stood. */
    public TrainState state() {
        return manifest.state();
    }

    /** Whether training can go on from it: not where {@code save_only_model} left the optimizer states out. */
    public boolean holdsOptimizerStates() {
        return manifest.files().stream()
                .anyMatch(file -> file.name().contains("/" + CheckpointWriter.STATES + "-rank"));
    }

    /** Its path, as {@code resume_from_checkpoint} takes it. */
    public String path() {
        return folder.path();
    }

    /** The trainer state (log history) that was saved with it. */
    public String trainerStateJson() {
        return folder.readText(manifest.trainerState());
    }
}
