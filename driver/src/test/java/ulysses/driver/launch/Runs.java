package ulysses.driver.launch;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TuningConfig;

/** Configurations of small runs. */
public final class Runs {
    private Runs() {}

    /** A run on CPU that writes to {@code output}. */
    public static TrainingConfig config(Path output, ParallelConfig parallel) {
        return new TrainingConfig(
                new TrainingConfig.Model(
                        "model",
                        "main",
                        null,
                        true,
                        TrainingConfig.ComputeType.FLOAT32,
                        null,
                        "auto",
                        TrainingConfig.Attention.OF_THE_MODEL,
                        ActivationMemory.ATTENTION),
                new TrainingConfig.Data(
                        List.of("sample"),
                        List.of(),
                        false,
                        "data",
                        "default",
                        null,
                        null,
                        128,
                        false,
                        false,
                        TrainingConfig.Packing.BEST_FIT,
                        0,
                        null,
                        null,
                        true,
                        false,
                        false,
                        "concat",
                        List.of(),
                        1000,
                        0,
                        false,
                        null,
                        null,
                        "26 Jul 2024"),
                new TuningConfig.Full(TuningConfig.Stage.SFT),
                new StepConfig(1, 1, 1e-4, 1, -1, "linear", Map.of(), 0, 0, 0, 0.9, 0.999, 1e-8, 1, 42, 42, true),
                new TrainingConfig.Evaluation(TrainingConfig.EvalStrategy.NO, 0, 0, false, 1),
                parallel,
                new TrainingConfig.Output(
                        output.toString(),
                        false,
                        1,
                        TrainingConfig.SaveStrategy.NO,
                        0,
                        0,
                        false,
                        null,
                        null,
                        false,
                        5_000_000_000L,
                        TrainingConfig.Reporting.NONE,
                        null),
                null);
    }

    /** Two ranks that share a sequence, with short limits. */
    public static ParallelConfig twoRanks(int maxAttempts, int hangSeconds) {
        return new ParallelConfig(
                2, 2, ParallelConfig.Device.CPU, 30, 30, maxAttempts, 2, false, hangSeconds, 0, false, false, true);
    }
}
