package ulysses.driver.hub;

import static java.nio.file.StandardOpenOption.CREATE;
import static java.nio.file.StandardOpenOption.WRITE;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.time.Duration;
import java.util.HexFormat;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import ulysses.runtime.weights.StorageException;

/**
 * Brings one file of the hub to local disk: what came before a cut connection, or an earlier start, stays and is added to; the whole is
 * compared with the checksum that the hub gave. For one process at a time: whoever calls holds a lock.
 *
 * @param pause before the first new try; doubled for each further one
 */
record HubDownload(HubSite site, Duration pause, Consumer<String> log) {
    private static final int TRIES = 6; // without a single new byte; chosen, not tuned
    private static final int BLOCK = 1 << 20;
    private static final long SAID_EVERY_NANOS = TimeUnit.SECONDS.toNanos(20);

    /** A file of a model at a commit. */
    record Wanted(String id, String commit, String name) {
        @Override
        public String toString() {
            return id + " " + name;
        }
    }

    /** The checksum under which the hub keeps it. */
    String etag(Wanted wanted) throws InterruptedException {
        return persist(
                wanted.toString(),
                () -> site.find(wanted.id(), wanted.commit(), wanted.name()).etag());
    }

    /** What lies at {@code revision} of the model {@code id}. */
    HubSite.Listing listing(String id, String revision) throws InterruptedException {
        return persist(id, () -> site.listing(id, revision));
    }

    @FunctionalInterface
    private interface Attempt<T> {
        T run() throws IOException;
    }

    private <T> T persist(String what, Attempt<T> attempt) throws InterruptedException {
        for (int failures = 1; ; failures++) {
            try {
                return attempt.run();
            } catch (IOException e) {
                giveUpAfter(failures, what, e);
            }
        }
    }

    private void giveUpAfter(int failures, String what, IOException last) throws InterruptedException {
        if (failures >= TRIES) {
            throw new StorageException(
                    "%s can't be downloaded from %s: %s; try again (what is there already stays), or set HF_ENDPOINT to a mirror"
                            .formatted(what, site.endpoint(), last.getMessage()),
                    last);
        }
        TimeUnit.MILLISECONDS.sleep(pause.toMillis() << (failures - 1));
    }

    /**
     * Completes {@code staged}, which may hold the beginning of the file, and checks it.
     *
     * @throws StorageException when the hub can't be reached for long, or sends other bytes than it says, twice
     */
    void complete(Wanted wanted, Path staged) throws IOException, InterruptedException {
        Files.createDirectories(staged.toAbsolutePath().getParent());
        try (FileChannel out = FileChannel.open(staged, CREATE, WRITE)) {
            int failures = 0;
            for (boolean damagedBefore = false; ; ) {
                long before = out.size();
                try {
                    HubSite.Remote remote = site.find(wanted.id(), wanted.commit(), wanted.name());
                    add(wanted, remote, out);
                    if (matches(remote.etag(), staged)) {
                        out.force(true);
                        return;
                    }
                    out.truncate(0);
                    if (damagedBefore) {
                        throw new StorageException(
                                "%s: what %s sends is not what it says (checksum %s), twice; set HF_ENDPOINT to another mirror"
                                        .formatted(wanted, site.endpoint(), remote.etag()));
                    }
                    damagedBefore = true;
                } catch (IOException e) {
                    failures = out.size() > before ? 1 : failures + 1;
                    giveUpAfter(failures, wanted.toString(), e);
                }
            }
        }
    }

    private void add(Wanted wanted, HubSite.Remote remote, FileChannel out) throws IOException {
        if (remote.size() >= 0 && out.size() > remote.size()) {
            out.truncate(0);
        }
        if (out.size() == remote.size()) {
            return;
        }
        try (HubSite.Bytes bytes = site.read(remote, out.size(), wanted.toString())) {
            out.truncate(bytes.start());
            out.position(bytes.start());
            copy(bytes.stream(), out, new Progress(wanted, remote.size()));
        }
        if (remote.size() >= 0 && out.size() < remote.size()) {
            throw new IOException("the connection ended at byte %d of %d".formatted(out.size(), remote.size()));
        }
    }

    private static void copy(InputStream in, FileChannel out, Progress progress) throws IOException {
        byte[] block = new byte[BLOCK];
        for (int count = in.read(block); count >= 0; count = in.read(block)) {
            ByteBuffer bytes = ByteBuffer.wrap(block, 0, count);
            while (bytes.hasRemaining()) {
                out.write(bytes);
            }
            progress.at(out.position());
        }
    }

    private final class Progress {
        private final Wanted wanted;
        private final long size;
        private long said = System.nanoTime();

        Progress(Wanted wanted, long size) {
            this.wanted = wanted;
            this.size = size;
        }

        void at(long bytes) {
            if (System.nanoTime() - said > SAID_EVERY_NANOS) {
                said = System.nanoTime();
                log.accept("  %s: %,d of %,d MB".formatted(wanted, bytes / 1_000_000, size / 1_000_000));
            }
        }
    }

    /** Whether the bytes are those of {@code etag}; a mirror may say something that is no checksum, which is then not compared. */
    private static boolean matches(String etag, Path file) throws IOException {
        if (etag.matches("[0-9a-f]{64}")) {
            return etag.equals(digest("SHA-256", new byte[0], file));
        } else if (etag.matches("[0-9a-f]{40}")) { // git's name of a blob: its kind and length come before its bytes
            byte[] head = ("blob " + Files.size(file) + "\0").getBytes(StandardCharsets.US_ASCII);
            return etag.equals(digest("SHA-1", head, file));
        }
        return true;
    }

    private static String digest(String algorithm, byte[] head, Path file) throws IOException {
        try (InputStream in = Files.newInputStream(file)) {
            MessageDigest digest = MessageDigest.getInstance(algorithm);
            digest.update(head);
            byte[] block = new byte[BLOCK];
            for (int count = in.read(block); count >= 0; count = in.read(block)) {
                digest.update(block, 0, count);
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException("every Java platform has " + algorithm, e);
        }
    }
}
