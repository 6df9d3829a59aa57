package ulysses.runtime.mesh;

import java.util.List;
import ulysses.runtime.config.TrainingConfig;

/**
 * What a rank process is told at its start: one JSON line on its standard input.
 *
 * @param rank world rank
 * @param mesh all ranks
 * @param host address of this rank that the other ranks can reach
 * @param storeHost address of the rendezvous store (rank 0's host)
 * @param storePort its port; 0 tells rank 0 to bind any free one and to report it as the event {@code store}
 * @param attempt number of this attempt, from 1: part of every store prefix, so that a zombie of an earlier one can't join
 * @param runId names the run in store prefixes
 * @param deviceIndex which of the visible CUDA devices; 0 on CPU
 * @param threads threads for local math
 * @param trainRows folder of prepared training rows
 * @param evalRows prepared rows to evaluate on, in order
 * @param localDirectory scratch space on this host
 * @param config the run
 */
public record RankAssignment(
        int rank,
        RankMesh mesh,
        String host,
        String storeHost,
        int storePort,
        int attempt,
        String runId,
        int deviceIndex,
        int threads,
        String trainRows,
        List<EvaluationSet> evalRows,
        String localDirectory,
        TrainingConfig config) {
    public RankAssignment {
        evalRows = List.copyOf(evalRows);
    }
}
