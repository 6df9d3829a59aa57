package ulysses.runtime.checkpoint;

import java.util.List;
import java.util.OptionalLong;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.RangedFile;
import ulysses.runtime.weights.WrittenFile;

/** A real folder, some of whose operations go wrong: those that are overridden. */
interface FolderAround extends Folder {

    /** The real one. */
    Folder inner();

    @Override
    default String path() {
        return inner().path();
    }

    @Override
    default boolean exists() {
        return inner().exists();
    }

    @Override
    default List<Entry> list() {
        return inner().list();
    }

    @Override
    default OptionalLong length(String name) {
        return inner().length(name);
    }

    @Override
    default RangedFile open(String name) {
        return inner().open(name);
    }

    @Override
    default WrittenFile write(String name, Content content) {
        return inner().write(name, content);
    }

    @Override
    default boolean createIfAbsent(String name, byte[] bytes) {
        return inner().createIfAbsent(name, bytes);
    }

    @Override
    default void append(String name, byte[] bytes) {
        inner().append(name, bytes);
    }

    @Override
    default void delete(String name) {
        inner().delete(name);
    }
}
