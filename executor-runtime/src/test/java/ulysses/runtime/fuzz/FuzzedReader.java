package ulysses.runtime.fuzz;

import java.io.IOException;
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

/**
 * A reader and a valid file of its kind. Each damaged copy must be read, or refused with one message of ours: an endless loop, memory
 * without bound, and any other exception is a finding.
 *
 * @param name for reports
 * @param file what is damaged
 * @param read reads it, and what it belongs to
 */
public record FuzzedReader(String name, Path file, Read read) {
    private static final int SECONDS = 20;

    /** Exceptions whose message is the user's to read; an IOException is shown with its message, too. */
    private static final Set<String> OURS = Set.of(
            "ulysses.runtime.config.ConfigException",
            "ulysses.runtime.data.DataException",
            "ulysses.runtime.weights.WeightsException",
            "ulysses.runtime.weights.StorageException");

    /** Reads the file as it is now. */
    @FunctionalInterface
    public interface Read {
        void run() throws Exception;
    }

    /** What was tried, and what came of it. */
    public record Outcome(int tried, int refused, List<String> findings) {}

    /** Tries damaged copies until {@code enough} says so or three findings are there; the file is whole again at the end. */
    public Outcome run(long seed, java.util.function.IntPredicate enough) throws IOException, InterruptedException {
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
            for (; !enough.test(tried) && findings.size() < 3; tried++) {
                byte[] damaged = new Mutations(seed + tried).of(valid);
                replace(damaged);
                Throwable failure = failure(thread);
                if (failure != null) {
                    refused++;
                    String finding = finding(failure);
                    if (!finding.isEmpty()) {
                        findings.add("%s, seed %d: %s".formatted(name, seed + tried, finding));
                    }
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

    private @org.jspecify.annotations.Nullable Throwable failure(ExecutorService thread) throws InterruptedException {
        Future<?> reading = thread.submit(() -> {
            read.run();
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
        for (int i = 0; i < Math.min(6, stack.length); i++) {
            text.append("\n    at ").append(stack[i]);
        }
        return text.toString();
    }
}
