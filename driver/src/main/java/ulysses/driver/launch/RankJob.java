package ulysses.driver.launch;

import org.jspecify.annotations.Nullable;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankMesh;

/**
 * What all attempts of a run have in common.
 *
 * @param runId names the run: letters, digits, dash, dot and underscore
 * @param mainClass what each rank process runs: reads one RankAssignment from standard input, writes RankEvents to standard output
 * @param mesh all ranks
 * @param config the run
 * @param trainRows folder of prepared training rows
 * @param evalRows folder of prepared evaluation rows, if any
 */
public record RankJob(
        String runId,
        String mainClass,
        RankMesh mesh,
        TrainingConfig config,
        String trainRows,
        @Nullable String evalRows) {
    public RankJob {
        if (!runId.matches("[A-Za-z0-9._-]{1,80}")) {
            throw new IllegalArgumentException(
                    "run id '%s' must be 1 to 80 letters, digits, dashes, dots or underscores".formatted(runId));
        }
    }
}
