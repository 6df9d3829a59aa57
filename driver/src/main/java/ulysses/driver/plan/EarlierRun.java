package ulysses.driver.plan;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointStore;
import ulysses.runtime.checkpoint.ResumePoint;
import ulysses.runtime.checkpoint.ResumeTerms;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.PackedManifest;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.StorageException;

/**
 * What an earlier run left in {@code output_dir}. A run that finished there without leaving a checkpoint can't be continued, and is
 * not overwritten unasked: LLaMA-Factory's rule (0.9.5, {@code hparams/parser.py}).
 */
public record EarlierRun(Configuration hadoop) {

    /** Files that only a finished run has; LLaMA-Factory's {@code CHECKPOINT_NAMES}. */
    private static final List<String> FINISHED = List.of(
            "adapter_model.safetensors",
            "adapter_model.bin",
            "model.safetensors.index.json",
            "model.safetensors",
            "pytorch_model.bin.index.json",
            "pytorch_model.bin");

    /** What is wrong with training into the folders of {@code output}, which can be read. */
    Optional<Problem> problem(TrainingConfig.Output output) {
        if (output.startsAnew() || output.resumeFromCheckpoint() != null) {
            return Optional.empty();
        }
        Folder folder = Folder.at(output.outputDir(), hadoop);
        Optional<String> finished = FINISHED.stream().filter(folder::has).findFirst();
        if (finished.isEmpty() || hasCheckpoint(output)) {
            return Optional.empty();
        }
        return Optional.of(new Problem(
                "output_dir",
                output.outputDir(),
                "holds %s of a finished run but no checkpoint to go on from".formatted(finished.get()),
                "choose another folder, or set overwrite_output_dir: true to replace that run"));
    }

    /**
     * Refuses what ranks would refuse: to go on from a checkpoint that can't be gone on from.
     *
     * @param config of the run, on the ranks of {@code mesh}
     * @param rows folder of its prepared rows; those that another program prepared are compared by the ranks, who read them
     * @throws ConfigException when the checkpoint was written under other terms, holds the model alone, or is not to be replaced
     * @throws StorageException when it was trained on other rows, or it is not certain where to begin
     */
    public void requireContinuable(TrainingConfig config, RankMesh mesh, String rows) {
        ResumeTerms terms = ResumeTerms.of(config, mesh, fingerprint(rows));
        CheckpointStore store = store(config.output());
        new ResumePoint(config.output(), 1, "", store, hadoop)
                .choose(terms, Checkpoint.Check.LENGTHS, new ArrayList<>());
    }

    private Optional<String> fingerprint(String rows) {
        try {
            return PackedManifest.read(rows, hadoop).map(PackedManifest::checksum);
        } catch (IOException e) {
            throw new StorageException("prepared rows %s can't be read: %s".formatted(rows, e.getMessage()), e);
        }
    }

    private boolean hasCheckpoint(TrainingConfig.Output output) {
        return !store(output).completeSteps().isEmpty();
    }

    private CheckpointStore store(TrainingConfig.Output output) {
        return new CheckpointStore(Folder.at(output.checkpoints(), hadoop));
    }
}
