package ulysses.runtime.checkpoint;

import java.util.List;
import java.util.OptionalLong;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.RangedFile;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.WrittenFile;

/** A folder on a store that does not give out files whose name contains {@code file}, though it lists them. */
record UnansweringFolder(Folder inner, String file) implements Folder {

    @Override
    public String path() {
        return inner.path();
    }

    @Override
    public Folder folder(String name) {
        return new UnansweringFolder(inner.folder(name), file);
    }

    @Override
    public boolean exists() {
        return inner.exists();
    }

    @Override
    public List<Entry> list() {
        return inner.list();
    }

    @Override
    public OptionalLong length(String name) {
        return inner.length(name);
    }

    @Override
    public RangedFile open(String name) {
        if (name.contains(file)) {
            throw new StorageException("can't open %s: the file system does not answer".formatted(path(name)));
        }
        return inner.open(name);
    }

    @Override
    public WrittenFile write(String name, Content content) {
        return inner.write(name, content);
    }

    @Override
    public boolean createIfAbsent(String name, byte[] bytes) {
        return inner.createIfAbsent(name, bytes);
    }

    @Override
    public void append(String name, byte[] bytes) {
        inner.append(name, bytes);
    }

    @Override
    public void delete(String name) {
        inner.delete(name);
    }
}
