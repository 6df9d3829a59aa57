package ulysses.driver.plan;

import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.checkpoint.CheckpointStore;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.weights.Folder;

/**
 * What an earlier run left in {@code output_dir}. A run that finished there without leaving a checkpoint can't be continued, and is
 * not overwritten unasked: LLaMA-Factory's rule (0.9.5, {@code hparams/parser.py}).
 */
record EarlierRun(Configuration hadoop) {

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

    private boolean hasCheckpoint(TrainingConfig.Output output) {
        return !new CheckpointStore(Folder.at(output.checkpoints(), hadoop))
                .completeSteps()
                .isEmpty();
    }
}
