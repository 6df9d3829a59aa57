package ulysses.runtime.collective;

import java.time.Duration;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.mesh.RankMesh;

/**
 * Where and how one rank meets the others.
 *
 * @param rank world rank
 * @param mesh all ranks
 * @param host address of this rank that the others reach
 * @param storeHost address of rank 0's store
 * @param storePort its port; 0 at rank 0 binds any free one
 * @param key keeps runs and attempts apart that meet at the same store
 * @param device where tensors live
 * @param deviceIndex which CUDA device; 0 on CPU
 * @param operationTimeout of every operation
 * @param rendezvousTimeout until all ranks have met
 */
public record Rendezvous(
        int rank,
        RankMesh mesh,
        String host,
        String storeHost,
        int storePort,
        String key,
        Device device,
        int deviceIndex,
        Duration operationTimeout,
        Duration rendezvousTimeout) {

    public Rendezvous {
        if (rank < 0 || rank >= mesh.worldSize()) {
            throw new IllegalArgumentException("rank %d is outside of 0..%d".formatted(rank, mesh.worldSize() - 1));
        }
        if (storePort < 0 || storePort > 65_535 || (storePort == 0 && rank != 0)) {
            throw new IllegalArgumentException(
                    "store port %d at rank %d is not a port; only rank 0 may ask for a free one with 0"
                            .formatted(storePort, rank));
        }
    }

    /** What {@code assignment} says. */
    public static Rendezvous of(RankAssignment assignment) {
        ParallelConfig parallel = assignment.config().parallel();
        return new Rendezvous(
                assignment.rank(),
                assignment.mesh(),
                assignment.host(),
                assignment.storeHost(),
                assignment.storePort(),
                assignment.runId() + "/attempt-" + assignment.attempt(),
                parallel.device(),
                assignment.deviceIndex(),
                Duration.ofSeconds(parallel.timeoutSeconds()),
                Duration.ofSeconds(parallel.rendezvousSeconds()));
    }
}
