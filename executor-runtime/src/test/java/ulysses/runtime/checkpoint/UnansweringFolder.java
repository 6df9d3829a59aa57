package ulysses.runtime.checkpoint;

import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.RangedFile;
import ulysses.runtime.weights.StorageException;

/** A folder on a store that does not give out files whose name contains {@code file}, though it lists them. */
record UnansweringFolder(Folder inner, String file) implements FolderAround {

    @Override
    public Folder folder(String name) {
        return new UnansweringFolder(inner.folder(name), file);
    }

    @Override
    public RangedFile open(String name) {
        if (name.contains(file)) {
            throw new StorageException("can't open %s: the file system does not answer".formatted(path(name)));
        }
        return inner.open(name);
    }
}
