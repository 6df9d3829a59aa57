package ulysses.runtime.training;

import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointStore;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.StorageException;

/**
 * Where an attempt begins: at the newest checkpoint that an earlier attempt of this run wrote; else at the one that was asked for;
 * else, unless the run was told to begin anew, at the newest that is complete. For one process, rank 0's.
 *
 * @param output what the user asked for
 * @param attempt number of this attempt, from 1
 * @param runId names the run
 * @param store the checkpoints of {@code output}
 */
record ResumePoint(
        TrainingConfig.Output output, int attempt, String runId, CheckpointStore store, Configuration hadoop) {

    /**
     * Chooses the checkpoint and removes what lies after it, complete or not, and what dead attempts left. A checkpoint that can't be
     * read now stops the run before anything is removed, and so do checkpoints none of which is whole.
     *
     * @param warnings gets what was passed over
     * @throws StorageException when it is not certain where to begin
     */
    Optional<Checkpoint> prepare(List<String> warnings) {
        Optional<Checkpoint> chosen = ofThisRun(warnings).or(() -> asTold(warnings));
        store.discardAfter(chosen.map(checkpoint -> checkpoint.state().step()).orElse(0L));
        store.collectOrphans();
        return chosen;
    }

    private Optional<Checkpoint> ofThisRun(List<String> warnings) {
        return attempt == 1
                ? Optional.empty()
                : passingOver(store.newestOf(runId, Checkpoint.Check.CHECKSUMS), warnings);
    }

    private Optional<Checkpoint> asTold(List<String> warnings) {
        @Nullable String wanted = output.resumeFromCheckpoint();
        if (wanted != null && !wanted.equals(TrainingConfig.Output.NEVER_RESUME)) {
            return Optional.of(Checkpoint.open(Folder.at(wanted, hadoop), Checkpoint.Check.CHECKSUMS));
        }
        return output.startsAnew() ? Optional.empty() : passingOver(store.newest(Checkpoint.Check.CHECKSUMS), warnings);
    }

    private Optional<Checkpoint> passingOver(CheckpointStore.Newest newest, List<String> warnings) {
        if (newest.checkpoint().isEmpty() && !newest.warnings().isEmpty()) {
            throw new StorageException(
                    "no checkpoint in %s is whole, and none was removed; restore one, name another output_dir, or set overwrite_output_dir: true to begin anew without them: %s"
                            .formatted(output.checkpoints(), String.join("; ", newest.warnings())));
        }
        warnings.addAll(newest.warnings());
        return newest.checkpoint();
    }
}
