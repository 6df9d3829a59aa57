package ulysses.runtime.checkpoint;

import java.io.ByteArrayOutputStream;
import java.nio.channels.Channels;
import java.util.Arrays;
import java.util.List;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.WrittenFile;

/**
 * A folder whose process dies at a chosen operation: nothing after it has an effect, and a file that was being written is there with
 * half of its bytes, as on a file system without atomic files.
 */
record StoppingFolder(Folder inner, Plan plan) implements FolderAround {

    /** Thrown at the chosen operation and at all after it. */
    static final class Stopped extends Error {
        private static final long serialVersionUID = 1L;
    }

    /** Counts operations; every write is three: before, in the middle, after. */
    static final class Plan {
        private final int stopAt;
        private int operations;

        Plan(int stopAt) {
            this.stopAt = stopAt;
        }

        int operations() {
            return operations;
        }

        private void next() {
            operations++;
            if (operations >= stopAt) {
                throw new Stopped();
            }
        }

        private boolean stopsNext() {
            return operations + 1 >= stopAt;
        }
    }

    @Override
    public Folder folder(String name) {
        return new StoppingFolder(inner.folder(name), plan);
    }

    @Override
    public WrittenFile write(String name, Content content) {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        plan.next();
        try {
            content.writeTo(Channels.newChannel(bytes));
        } catch (java.io.IOException e) {
            throw new AssertionError(e);
        }
        if (plan.stopsNext()) {
            inner.write(name, Arrays.copyOf(bytes.toByteArray(), bytes.size() / 2));
        }
        plan.next();
        WrittenFile written = inner.write(name, bytes.toByteArray());
        plan.next();
        return written;
    }

    @Override
    public boolean createIfAbsent(String name, byte[] bytes) {
        plan.next();
        if (plan.stopsNext()) {
            inner.createIfAbsent(name, Arrays.copyOf(bytes, bytes.length / 2));
        }
        plan.next();
        boolean created = inner.createIfAbsent(name, bytes);
        plan.next();
        return created;
    }

    @Override
    public void append(String name, byte[] bytes) {
        plan.next();
        inner.append(name, bytes);
    }

    @Override
    public void delete(String name) {
        plan.next();
        Folder folder = inner.folder(name);
        List<Entry> entries = folder.list();
        if (plan.stopsNext() && !entries.isEmpty()) {
            folder.delete(entries.get(0).name());
        }
        plan.next();
        inner.delete(name);
        plan.next();
    }
}
