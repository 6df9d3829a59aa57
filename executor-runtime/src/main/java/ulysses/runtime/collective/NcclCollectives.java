package ulysses.runtime.collective;

import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.nccl.ProcessGroupNCCL;
import ulysses.runtime.collective.BackendCollectives.Group;
import ulysses.runtime.collective.BackendCollectives.Library;
import ulysses.runtime.memory.TensorScope;

/**
 * Groups on CUDA tensors. The communicator itself is made by the first operation. NCCL's watchdog ends the process when an
 * operation passes the timeout or a peer is lost, with the reason on standard error; {@code await} can't see that, because it only
 * orders the stream.
 */
final class NcclCollectives {
    private NcclCollectives() {}

    /** Opens {@code group}; every rank of it must call this, with its CUDA device as the current one. */
    static BackendCollectives open(RendezvousStore store, String prefix, Group group) {
        try (TensorScope scope = TensorScope.open()) {
            Store groupStore = store.under(prefix + "/nccl");
            var options = ProcessGroupNCCL.Options.create();
            options.timeout(new Milliseconds(group.timeout().toMillis()));
            Backend backend = TensorScope.own(new ProcessGroupNCCL(groupStore, group.rank(), group.size(), options));
            backend.setGroupDesc(group.name());
            return new BackendCollectives(backend, group, Library.NCCL, Attendance.of(store, prefix, group));
        }
    }
}
