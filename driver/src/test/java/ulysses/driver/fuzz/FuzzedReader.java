package ulysses.driver.fuzz;

import com.sun.management.ThreadMXBean;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.IntPredicate;
import org.jspecify.annotations.Nullable;

/**
 * A reader and a valid file of its kind. Each damaged copy must be read, or refused with one message of ours: an endless loop, memory
 * without bound, and any other exception is a finding.
 *
 * @param name for reports
 * @param file what is damaged
 * @param words what may be put into the file beside general values; for readers of a language
 * @param read reads it, and what it belongs to
 */
record FuzzedReader(String name, Path file, List<String> words, Read read) {
    private static final int SECONDS = 20;

    /** Of all objects made for one file, garbage too; reading one of these files takes some megabytes. */
    private static final long MOST_BYTES = 1L << 30;

    private static final int MOST_FINDINGS = 3;

    /** Exceptions whose message is the user's to read; an IOException is shown with its message, too. */
    private static final Set<String> OURS = Set.of(
            "ulysses.driver.jinja.JinjaException", // comes with what refuses and where it stands, as a DataException
            "ulysses.runtime.checkpoint.DamagedCheckpointException",
            "ulysses.runtime.config.ConfigException",
            "ulysses.runtime.data.DataException",
            "ulysses.runtime.weights.WeightsException",
            "ulysses.runtime.weights.StorageException");

    /** Reads the file as it is now. */
    @FunctionalInterface
    interface Read {
        void run() throws Exception;
    }

    /** What was tried, and what came of it. */
    record Outcome(int tried, int refused, List<String> findings) {}

    FuzzedReader {
        words = List.copyOf(words);
    }

    static FuzzedReader binary(String name, Path file, Read read) {
        return new FuzzedReader(name, file, List.of(), read);
    }

    /** The reader of a text in which names are words of their own. */
    static FuzzedReader text(String name, Path file, Read read) throws IOException {
        return new FuzzedReader(name, file, Mutations.namesIn(Files.readString(file)), read);
    }

    /** Tries damaged copies until {@code enough} says so or three findings are there; the file is whole again at the end. */
    Outcome run(long seed, IntPredicate enough) throws IOException, InterruptedException {
        byte[] valid = Files.readAllBytes(file);
        List<String> findings = new ArrayList<>();
        int refused = 0;
        int tried = 0;
        ExecutorService thread = Executors.newSingleThreadExecutor(task -> {
            Thread reading = new Thread(task, "reader");
            reading.setDaemon(true);
            return reading;
        });
        try {
            for (; !enough.test(tried) && findings.size() < MOST_FINDINGS; tried++) {
                replace(new Mutations(seed + tried, words).of(valid));
                Throwable failure = failure(thread);
                if (failure != null) {
                    refused++;
                    String finding = finding(failure);
                    if (!finding.isEmpty()) {
                        findings.add("%s, seed %d: %s".formatted(name, seed + tried, finding));
                    }
                }
                if (failure instanceof TimeoutException) {
                    break; // the thread is lost to it
                }
            }
            return new Outcome(tried, refused, findings);
        } finally {
            thread.shutdownNow();
            replace(valid);
        }
    }

    /** A new file each time: one that is mapped into memory must not shrink. */
    private void replace(byte[] bytes) throws IOException {
        Path next = Files.write(file.resolveSibling("next-" + file.getFileName()), bytes);
        Files.move(next, file, StandardCopyOption.REPLACE_EXISTING);
    }

    private @Nullable Throwable failure(ExecutorService thread) throws InterruptedException {
        Future<?> reading = thread.submit(() -> {
            readInBounds();
            return null;
        });
        try {
            reading.get(SECONDS, TimeUnit.SECONDS);
            return null;
        } catch (ExecutionException e) {
            return e.getCause();
        } catch (TimeoutException e) {
            return e;
        }
    }

    private void readInBounds() throws Exception {
        long before = allocated();
        Exception refusal = null;
        try {
            read.run();
        } catch (Exception refused) {
            refusal = refused;
        }
        long bytes = allocated() - before;
        if (bytes > MOST_BYTES) {
            throw new IllegalStateException("reading took %,d bytes of memory".formatted(bytes), refusal);
        }
        if (refusal != null) {
            throw refusal;
        }
    }

    private static long allocated() {
        return ((ThreadMXBean) ManagementFactory.getThreadMXBean()).getCurrentThreadAllocatedBytes();
    }

    private static String finding(Throwable failure) {
        boolean ours = OURS.contains(failure.getClass().getName()) || failure instanceof IOException;
        String message = String.valueOf(failure.getMessage());
        if (ours && failure.getMessage() != null && message.length() < 20_000) {
            return "";
        }
        StackTraceElement[] stack = failure.getStackTrace();
        StringBuilder text = new StringBuilder(failure.getClass().getName() + ": ")
                .append(
                        message.length() > 300
                                ? message.substring(0, 300) + "... (" + message.length() + " characters)"
                                : message);
        for (int i = 0; i < Math.min(8, stack.length); i++) {
            text.append("\n    at ").append(stack[i]);
        }
        return text.toString();
    }
}
