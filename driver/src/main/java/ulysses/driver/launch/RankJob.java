package ulysses.driver.launch;

import java.util.List;
import java.util.Optional;
import java.util.stream.IntStream;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.EvaluationSet;
import ulysses.runtime.mesh.RankMesh;

/**
 * What all attempts of a run have in common.
 *
 * @param runId names the run: letters, digits, dash, dot and underscore
 * @param mainClass what each rank process runs: reads one RankAssignment from standard input, writes RankEvents to standard output
 * @param mesh all ranks
 * @param config the run
 * @param trainRows folder of prepared training rows
 * @param evalRows prepared rows to evaluate on, in order
 */
public record RankJob(
        String runId,
        String mainClass,
        RankMesh mesh,
        TrainingConfig config,
        String trainRows,
        List<EvaluationSet> evalRows) {
    public RankJob {
        evalRows = List.copyOf(evalRows);
        if (!runId.matches("[A-Za-z0-9._-]{1,80}")) {
            throw new IllegalArgumentException(
                    "run id '%s' must be 1 to 80 letters, digits, dashes, dots or underscores".formatted(runId));
        }
    }

    /**
     * The same run on at most {@code ranks} ranks: fewer data-parallel groups of the same size, with more micro-batches each, so that
     * every step has the same rows. Empty when not even one group fits.
     */
    Optional<RankJob> on(int ranks) {
        int group = mesh.sequenceParallelSize();
        int microBatches = config.step().accumulation() * mesh.dataParallelSize();
        return IntStream.rangeClosed(1, Math.min(ranks / group, mesh.dataParallelSize()))
                .filter(groups -> microBatches % groups == 0)
                .max()
                .stream()
                .mapToObj(groups -> new RankJob(
                        runId,
                        mainClass,
                        new RankMesh(groups * group, group),
                        config.withStep(config.step().withAccumulation(microBatches / groups)),
                        trainRows,
                        evalRows))
                .findFirst();
    }
}
