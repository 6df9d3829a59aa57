package ulysses.runtime.collective;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.Predicate;
import ulysses.runtime.mesh.RankEvent;

/**
 * Fixture: ranks as child JVMs of a main class, as a Spark task starts them: one line on standard input, events as JSON lines on
 * standard output, a log on standard error. Closing it ends all that still run.
 */
public final class RankProcesses implements AutoCloseable {
    private static final List<String> JVM_OPTIONS = List.of("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1");
    private static final ObjectMapper JSON = new ObjectMapper();

    /** The line that a rank is told. */
    @FunctionalInterface
    public interface Assignment {
        /** For {@code rank}; {@code storePort} is 0 for rank 0, which binds a free one. */
        String line(int rank, int storePort);
    }

    /** How one rank ended. */
    public record Outcome(int rank, int exitCode, List<RankEvent> events, List<String> otherOutput, String log) {}

    private final List<Child> children = new ArrayList<>();

    private RankProcesses() {}

    /** Starts {@code ranks} JVMs of {@code main} and tells them their assignments, rank 0's port to the others. */
    public static RankProcesses start(Class<?> main, int ranks, Duration timeout, Assignment assignment) {
        RankProcesses processes = new RankProcesses();
        try {
            for (int rank = 0; rank < ranks; rank++) {
                processes.children.add(new Child(rank, main));
            }
            processes.children.get(0).tell(assignment.line(0, 0));
            int port = ranks == 1 ? 0 : processes.storePort(timeout);
            for (int rank = 1; rank < ranks; rank++) {
                processes.children.get(rank).tell(assignment.line(rank, port));
            }
            return processes;
        } catch (RuntimeException | Error e) {
            processes.close();
            throw e;
        }
    }

    private int storePort(Duration timeout) {
        RankEvent event = awaitEvent(0, RankEvent.StoreOpen.class::isInstance, timeout);
        return ((RankEvent.StoreOpen) event).port();
    }

    /** The first event of {@code rank} that {@code wanted} accepts, past ones included. */
    public RankEvent awaitEvent(int rank, Predicate<RankEvent> wanted, Duration timeout) {
        return children.get(rank).awaitEvent(wanted, timeout);
    }

    /** Kills one rank, as the kernel would. */
    public void kill(int rank) {
        children.get(rank).process.destroyForcibly();
    }

    /** Closes one rank's standard input: whoever supervised it is gone. */
    public void closeInput(int rank) {
        children.get(rank).closeInput();
    }

    /** Waits until all ranks have ended, and says how. */
    public List<Outcome> await(Duration timeout) {
        long deadline = System.nanoTime() + timeout.toNanos();
        List<Outcome> outcomes = new ArrayList<>();
        for (Child child : children) {
            outcomes.add(child.outcome(deadline));
        }
        return outcomes;
    }

    @Override
    public void close() {
        children.forEach(child -> child.process.destroyForcibly());
    }

    private static final class Child {
        private final int rank;
        private final Process process;
        private final List<RankEvent> events = new ArrayList<>();
        private final List<String> otherOutput = new ArrayList<>();
        private final StringBuilder log = new StringBuilder();
        private final Thread output;
        private final Thread errors;

        Child(int rank, Class<?> main) {
            this.rank = rank;
            List<String> command = new ArrayList<>();
            command.add(System.getProperty("java.home") + "/bin/java");
            command.addAll(JVM_OPTIONS);
            command.addAll(List.of("-cp", System.getProperty("java.class.path"), main.getName()));
            try {
                process = new ProcessBuilder(command).start();
            } catch (IOException e) {
                throw new UncheckedIOException("rank " + rank + " could not be started", e);
            }
            output = reader("output", process.inputReader(StandardCharsets.UTF_8), this::onOutput);
            errors = reader("log", process.errorReader(StandardCharsets.UTF_8), this::onLog);
        }

        void tell(String line) {
            try {
                process.getOutputStream().write((line + "\n").getBytes(StandardCharsets.UTF_8));
                process.getOutputStream().flush();
            } catch (IOException e) {
                throw new UncheckedIOException("rank " + rank + " does not read:\n" + describe(), e);
            }
        }

        void closeInput() {
            try {
                process.getOutputStream().close();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }

        synchronized RankEvent awaitEvent(Predicate<RankEvent> wanted, Duration timeout) {
            long deadline = System.nanoTime() + timeout.toNanos();
            try {
                Optional<RankEvent> found = events.stream().filter(wanted).findFirst();
                while (found.isEmpty()) {
                    if (System.nanoTime() > deadline || !output.isAlive()) {
                        throw new AssertionError("the event did not come from rank " + rank + ":\n" + describe());
                    }
                    wait(200);
                    found = events.stream().filter(wanted).findFirst();
                }
                return found.get();
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new AssertionError("interrupted", e);
            }
        }

        Outcome outcome(long deadline) {
            try {
                long left = Math.max(0, deadline - System.nanoTime());
                if (!process.waitFor(left, TimeUnit.NANOSECONDS)) {
                    throw new AssertionError("rank " + rank + " did not end:\n" + describe());
                }
                output.join(10_000);
                errors.join(10_000);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new AssertionError("interrupted", e);
            }
            synchronized (this) {
                return new Outcome(
                        rank, process.exitValue(), List.copyOf(events), List.copyOf(otherOutput), log.toString());
            }
        }

        private synchronized void onOutput(String line) {
            try {
                events.add(JSON.readValue(line, RankEvent.class));
            } catch (JsonProcessingException e) {
                otherOutput.add(line);
            }
            notifyAll();
        }

        private synchronized void onLog(String line) {
            log.append(line).append('\n');
        }

        private synchronized String describe() {
            return "events " + events + "\nother output " + otherOutput + "\nlog\n" + log;
        }

        private Thread reader(String name, BufferedReader lines, Consumer<String> sink) {
            Thread thread = new Thread(
                    () -> {
                        try (lines) {
                            lines.lines().forEach(sink);
                        } catch (IOException | UncheckedIOException e) {
                            // The process was killed while it wrote.
                            sink.accept("");
                        }
                    },
                    "rank-" + rank + "-" + name);
            thread.setDaemon(true);
            thread.start();
            return thread;
        }
    }
}
