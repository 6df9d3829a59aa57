package ulysses.runtime.checkpoint;

import java.util.List;
import java.util.OptionalLong;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.locks.LockSupport;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.RangedFile;
import ulysses.runtime.weights.WrittenFile;

/** A folder whose process stands still while {@code stalled}: its operations wait. */
record StallingFolder(Folder inner, AtomicBoolean stalled) implements Folder {

    private Folder awake() {
        while (stalled.get()) {
            LockSupport.parkNanos(5_000_000);
        }
        return inner;
    }

    @Override
    public String path() {
        return inner.path();
    }

    @Override
    public Folder folder(String name) {
        return new StallingFolder(inner.folder(name), stalled);
    }

    @Override
    public boolean exists() {
        return awake().exists();
    }

    @Override
    public List<Entry> list() {
        return awake().list();
    }

    @Override
    public OptionalLong length(String name) {
        return awake().length(name);
    }

    @Override
    public RangedFile open(String name) {
        return awake().open(name);
    }

    @Override
    public WrittenFile write(String name, Content content) {
        return awake().write(name, content);
    }

    @Override
    public boolean createIfAbsent(String name, byte[] bytes) {
        return awake().createIfAbsent(name, bytes);
    }

    @Override
    public void append(String name, byte[] bytes) {
        awake().append(name, bytes);
    }

    @Override
    public void delete(String name) {
        awake().delete(name);
    }
}
