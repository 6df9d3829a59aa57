package ulysses.runtime.collective;

import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.Backend;
import org.bytedeco.pytorch.GlooDeviceVector;
import org.bytedeco.pytorch.ProcessGroupGloo;
import org.bytedeco.pytorch.Store;
import ulysses.runtime.collective.BackendCollectives.Group;
import ulysses.runtime.collective.BackendCollectives.Library;
import ulysses.runtime.memory.TensorScope;

/** Groups on CPU tensors, over TCP. */
final class GlooCollectives {
    private GlooCollectives() {}

    /**
     * Opens {@code group}; every rank of it must call this, and all connect to each other before it returns.
     *
     * @param host address of this rank that the others reach; Gloo listens there and not on what the host name resolves to
     */
    static BackendCollectives open(RendezvousStore store, String prefix, Group group, String host) {
        try (TensorScope scope = TensorScope.open()) {
            Store groupStore = store.under(prefix + "/gloo");
            var options = ProcessGroupGloo.Options.create(
                    new Milliseconds(group.timeout().toMillis()));
            options.devices(new GlooDeviceVector(ProcessGroupGloo.createDeviceForHostname(host)));
            Backend backend = TensorScope.own(new ProcessGroupGloo(groupStore, group.rank(), group.size(), options));
            return new BackendCollectives(backend, group, Library.GLOO, Attendance.of(store, prefix, group));
        }
    }
}
