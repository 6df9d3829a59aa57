package ulysses.runtime.checkpoint;

import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.StorageException;

/**
 * Where an attempt begins: at the newest checkpoint that an earlier attempt of this run wrote; else at the one that was asked for;
 * else at the newest that is complete. Checkpoints of an earlier run are replaced with {@code overwrite_output_dir} alone. The driver
 * chooses before it starts ranks, so that what can't go on is refused there; rank 0 alone prepares.
 *
 * @param output what the user asked for
 * @param attempt number of this attempt, from 1
 * @param runId names the run
 * @param store the checkpoints of {@code output}
 */
public record ResumePoint(
        TrainingConfig.Output output, int attempt, String runId, CheckpointStore store, Configuration hadoop) {

    /**
     * Chooses the checkpoint and removes nothing. One that can't be read now stops the run, and so do checkpoints none of which is whole.
     *
     * @param terms of this run
     * @param check what makes one whole
     * @param warnings gets what was passed over
     * @throws StorageException when it is not certain where to begin
     * @throws ConfigException when resuming is turned off, but there is a checkpoint that nobody said to replace; or the chosen one
     *     holds the model alone or was written under other terms
     */
    public Optional<Checkpoint> choose(ResumeTerms terms, Checkpoint.Check check, List<String> warnings) {
        Optional<Checkpoint> chosen = ofThisRun(check, warnings).or(() -> asTold(check, warnings));
        chosen.ifPresent(ResumePoint::requireOptimizerStates);
        chosen.ifPresent(terms::require);
        return chosen;
    }

    /** Chooses by checksums, and removes what lies after the chosen one, complete or not, and what dead attempts left. */
    public Optional<Checkpoint> prepare(ResumeTerms terms, List<String> warnings) {
        Optional<Checkpoint> chosen = choose(terms, Checkpoint.Check.CHECKSUMS, warnings);
        store.discardAfter(chosen.map(checkpoint -> checkpoint.state().step()).orElse(0L));
        store.collectOrphans();
        return chosen;
    }

    private static void requireOptimizerStates(Checkpoint checkpoint) {
        if (!checkpoint.holdsOptimizerStates()) {
            throw new ConfigException(
                    "the configuration",
                    List.of(
                            "%s holds the model alone (save_only_model true), so training can't go on from it; to begin anew set overwrite_output_dir: true or name another output_dir, to train from its weights make it model_name_or_path (adapter_name_or_path for an adapter)"
                                    .formatted(checkpoint.path())));
        }
    }

    private Optional<Checkpoint> ofThisRun(Checkpoint.Check check, List<String> warnings) {
        return attempt == 1 ? Optional.empty() : passingOver(store.newestOf(runId, check), warnings);
    }

    private Optional<Checkpoint> asTold(Checkpoint.Check check, List<String> warnings) {
        @Nullable String wanted = output.resumeFromCheckpoint();
        boolean never = TrainingConfig.Output.NEVER_RESUME.equals(wanted);
        if (wanted != null && !never) {
            return Optional.of(store.open(Folder.at(wanted, hadoop), check));
        }
        if (output.startsAnew()) {
            return Optional.empty();
        }
        if (never) {
            store.completeSteps().stream().findFirst().ifPresent(this::refuseToReplace);
            return Optional.empty();
        }
        return passingOver(store.newest(check), warnings);
    }

    private void refuseToReplace(long newest) {
        throw new ConfigException(
                "the configuration",
                List.of(
                        "resume_from_checkpoint false begins anew, but %s is there and would be removed; set overwrite_output_dir: true to replace that run, name another output_dir, or leave resume_from_checkpoint out to go on from it"
                                .formatted(store.folder(newest).path())));
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
