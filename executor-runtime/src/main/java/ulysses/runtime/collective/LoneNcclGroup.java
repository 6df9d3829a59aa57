package ulysses.runtime.collective;

import java.time.Duration;
import java.util.List;
import ulysses.runtime.collective.BackendCollectives.Group;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.mesh.RankMesh;

/** A real NCCL group of one rank on CUDA device 0, where training takes {@link SingleRank}: proves that NCCL works on a machine. */
public final class LoneNcclGroup implements AutoCloseable {

    private static final String HOST = "127.0.0.1";
    private static final Duration TIMEOUT = Duration.ofSeconds(60);

    private final RendezvousStore store;
    private final BackendCollectives group;

    /** Opens store and group. */
    public LoneNcclGroup() {
        Rendezvous alone =
                new Rendezvous(0, new RankMesh(1, 1), HOST, HOST, 0, "lone", Device.CUDA, 0, TIMEOUT, TIMEOUT);
        this.store = RendezvousStore.open(alone);
        this.group = NcclCollectives.open(store, alone.key(), new Group("lone NCCL group", 0, List.of(0), TIMEOUT, 0));
    }

    /** The group. */
    public Collectives group() {
        return group;
    }

    @Override
    public void close() {
        group.close();
        store.close();
    }
}
