package ulysses.runtime.weights;

import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Objects;
import java.util.OptionalLong;
import org.apache.hadoop.fs.CommonPathCapabilities;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.FSDataOutputStreamBuilder;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.fs.StreamCapabilities;
import org.jspecify.annotations.Nullable;

/**
 * A folder on a Hadoop file system. HDFS: files are synced before they are closed. S3: an object appears whole or not at all, so a
 * stream that failed is aborted, never closed; creation is conditional where the store can.
 */
record HadoopFolder(FileSystem fileSystem, Path root) implements Folder {
    /** S3A, Hadoop 3.4.2: the PUT carries {@code If-None-Match: *}. */
    private static final String CONDITIONAL_CREATE = "fs.option.create.conditional.overwrite";

    private static final int SETTLING_READS =
            5; // a holder of a lease writes every few seconds, a read takes milliseconds

    private static final int BLOCK = 1 << 22; // bytes of one positioned read: chosen, not tuned

    @Override
    public String path() {
        return root.toString();
    }

    /** Names may come from files that others wrote. */
    private Path at(String name) {
        try {
            return new Path(root, name);
        } catch (IllegalArgumentException impossible) {
            throw StorageException.impossibleName(name, path(), impossible);
        }
    }

    @Override
    public Folder folder(String name) {
        return new HadoopFolder(fileSystem, at(name));
    }

    @Override
    public boolean exists() {
        try {
            return fileSystem.getFileStatus(root).isDirectory();
        } catch (FileNotFoundException e) {
            return false;
        } catch (IOException e) {
            throw failed("look at", root, e);
        }
    }

    @Override
    public List<Entry> list() {
        try {
            return Arrays.stream(fileSystem.listStatus(root))
                    .map(s -> new Entry(s.getPath().getName(), s.isDirectory(), s.getLen()))
                    .sorted(Comparator.comparing(Entry::name))
                    .toList();
        } catch (FileNotFoundException e) {
            return List.of();
        } catch (IOException e) {
            throw failed("list", root, e);
        }
    }

    @Override
    public OptionalLong length(String name) {
        Path file = at(name);
        try {
            FileStatus status = fileSystem.getFileStatus(file);
            return status.isFile() ? OptionalLong.of(status.getLen()) : OptionalLong.empty();
        } catch (FileNotFoundException e) {
            return OptionalLong.empty();
        } catch (IOException e) {
            throw failed("look at", file, e);
        }
    }

    @Override
    public RangedFile open(String name) {
        Path file = at(name);
        try {
            long length = fileSystem.getFileStatus(file).getLen();
            return new OpenFile(file, fileSystem.open(file), length);
        } catch (IOException e) {
            throw failed("open", file, e);
        }
    }

    private record OpenFile(Path file, FSDataInputStream in, long length) implements RangedFile {
        @Override
        public String path() {
            return file.toString();
        }

        @Override
        public void read(long position, ByteBuffer into) {
            byte[] block = new byte[Math.min(BLOCK, into.remaining())];
            long next = position;
            try {
                while (into.hasRemaining()) {
                    int count = Math.min(block.length, into.remaining());
                    in.readFully(next, block, 0, count);
                    into.put(block, 0, count);
                    next += count;
                }
            } catch (IOException e) {
                throw failed("read", file, e);
            }
        }

        @Override
        public void close() {
            try {
                in.close();
            } catch (IOException e) {
                throw failed("close", file, e);
            }
        }
    }

    @Override
    public WrittenFile write(String name, Content content) {
        Path file = at(name);
        try {
            return writeTo(fileSystem.create(file, true), file, name, content);
        } catch (IOException e) {
            throw failed("write", file, e);
        }
    }

    private WrittenFile writeTo(FSDataOutputStream stream, Path file, String name, Content content) throws IOException {
        boolean complete = false;
        try {
            ChecksummedChannel out = new ChecksummedChannel(stream);
            content.writeTo(out);
            WrittenFile written = out.summary(name);
            if (stream.hasCapability(StreamCapabilities.HSYNC)) {
                stream.hsync();
            }
            complete = true;
            stream.close();
            return written;
        } finally {
            if (!complete) {
                giveUp(stream, file);
            }
        }
    }

    /** Closing would publish what was written so far as if it were all. */
    private void giveUp(FSDataOutputStream stream, Path file) {
        try {
            if (stream.hasCapability(StreamCapabilities.ABORTABLE_STREAM)) {
                stream.abort();
            } else {
                stream.close();
                fileSystem.delete(file, false);
            }
        } catch (IOException ignored) {
            // The failure that led here is on its way to the caller and says more.
        }
    }

    @Override
    public boolean createIfAbsent(String name, byte[] bytes) {
        Path file = at(name);
        try {
            if (fileSystem.exists(file)) {
                return false;
            }
            return created(file, name, bytes);
        } catch (IOException e) {
            throw failed("create", file, e);
        }
    }

    /** S3 says at the end that another was first, HDFS at the start; after any other failure it shows in what is there. */
    private boolean created(Path file, String name, byte[] bytes) throws IOException {
        try {
            writeTo(createNew(file), file, name, out -> out.write(ByteBuffer.wrap(bytes)));
            return true;
        } catch (IOException e) {
            if (fileSystem.exists(file)) {
                return Arrays.equals(settled(name), bytes);
            }
            throw e;
        }
    }

    /** What {@code name} holds, though whoever has it may be replacing it: S3 refuses to go on reading what was replaced meanwhile. */
    private byte[] settled(String name) {
        @Nullable StorageException last = null;
        for (int tries = 0; tries < SETTLING_READS; tries++) {
            try {
                return read(name);
            } catch (StorageException e) {
                last = e;
            }
        }
        throw Objects.requireNonNull(last);
    }

    private FSDataOutputStream createNew(Path file) throws IOException {
        if (fileSystem.hasPathCapability(file, CONDITIONAL_CREATE)) {
            FSDataOutputStreamBuilder<?, ?> builder =
                    fileSystem.createFile(file).recursive();
            return (FSDataOutputStream)
                    builder.overwrite(true).must(CONDITIONAL_CREATE, true).build();
        }
        return fileSystem.create(file, false);
    }

    @Override
    public void append(String name, byte[] bytes) {
        Path file = at(name);
        try {
            if (!fileSystem.exists(file)) {
                write(name, bytes);
                return;
            }
            int before = Math.toIntExact(fileSystem.getFileStatus(file).getLen());
            if (!fileSystem.hasPathCapability(file, CommonPathCapabilities.FS_APPEND) || !appended(file, bytes)) {
                byte[] all = Arrays.copyOf(read(name), before + bytes.length);
                System.arraycopy(bytes, 0, all, before, bytes.length);
                write(name, all);
            }
        } catch (IOException e) {
            throw failed("append to", file, e);
        }
    }

    /** HDFS with fewer data nodes than replicas opens files for appending and then fails; the file is written anew then. */
    private boolean appended(Path file, byte[] bytes) {
        try {
            FSDataOutputStream stream = fileSystem.append(file);
            try {
                stream.write(bytes);
                stream.hsync();
            } finally {
                stream.close();
            }
            return true;
        } catch (IOException e) {
            return false;
        }
    }

    @Override
    public void delete(String name) {
        Path target = at(name);
        try {
            fileSystem.delete(target, true);
        } catch (IOException e) {
            throw failed("delete", target, e);
        }
    }

    private static StorageException failed(String verb, Path file, IOException cause) {
        String reason = String.valueOf(cause.getMessage()).lines().findFirst().orElse("no reason given");
        return StorageException.failed(
                verb, file, reason, "check the path, the permissions and whether the file system answers", cause);
    }
}
