package ulysses.runtime.checkpoint;

import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import ulysses.runtime.weights.Folder;

/** A folder whose process stands still while {@code stalled}: its operations wait. */
record StallingFolder(Folder inner, AtomicBoolean stalled) implements FolderAround {

    @Override
    public Folder inner() {
        while (stalled.get()) {
            LockSupport.parkNanos(5_000_000);
        }
        return inner;
    }

    @Override
    public Folder folder(String name) {
        return new StallingFolder(inner.folder(name), stalled);
    }
}
