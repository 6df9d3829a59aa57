package ulysses.runtime.checkpoint;

import java.util.List;
import java.util.Optional;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.StorageException;

/**
 * What must be as it was when a run goes on, since the step's number is its place in the data: with other rows a step, or in another
 * order, rows would be trained twice or never. How ranks are arranged is not part of it.
 *
 * @param rowsFingerprint of the prepared rows; empty where they have not been looked at
 * @param order the keys that decide which rows a step takes, and their values, as text
 */
public record ResumeTerms(Optional<String> rowsFingerprint, String order) {

    /** How {@link #order} begins. */
    private static final String GLOBAL_BATCH = "global_batch ";

    /** Those of a run with {@code config} on the ranks of {@code mesh}. */
    public static ResumeTerms of(TrainingConfig config, RankMesh mesh, Optional<String> rowsFingerprint) {
        StepConfig step = config.step();
        long rows = (long) step.rowsPerRank() * step.accumulation() * mesh.dataParallelSize();
        String order = "%s%d, seed %d, data_seed %d, disable_shuffling %s"
                .formatted(GLOBAL_BATCH, rows, step.seed(), step.dataSeed(), !step.shuffle());
        return new ResumeTerms(rowsFingerprint, order);
    }

    /** Refuses a checkpoint that was written under other terms. Of one that does not say its order, rows alone are compared. */
    void require(Checkpoint checkpoint) {
        String rows = checkpoint.state().dataFingerprint();
        if (rowsFingerprint.isPresent() && !rows.equals(rowsFingerprint.get())) {
            throw new StorageException(
                    "checkpoint %s was trained on other rows (fingerprint %s, this run has %s); use the same data settings, another output_dir, or overwrite_output_dir: true"
                            .formatted(checkpoint.path(), shortened(rows), shortened(rowsFingerprint.get())));
        }
        String before = checkpoint.state().configFingerprint();
        if (before.startsWith(GLOBAL_BATCH) && !before.equals(order)) {
            throw new ConfigException(
                    "the configuration",
                    List.of(
                            "checkpoint %s was trained with %s, but this run has %s, so that rows would be trained twice or never; set these as they were (global_batch is per_device_train_batch_size x gradient_accumulation_steps x data-parallel groups), or begin anew with another output_dir or overwrite_output_dir: true"
                                    .formatted(checkpoint.path(), before, order)));
        }
    }

    private static String shortened(String fingerprint) {
        return fingerprint.substring(0, Math.min(12, fingerprint.length()));
    }
}
