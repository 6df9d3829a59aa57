package ulysses.driver.launch;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.mesh.RankEvent;

/**
 * The child JVM of one task, from start to certain end: feeds it its assignment, reads its events, forwards its log, and kills it when
 * the task ends first. The child halts by itself when this JVM dies, because its standard input closes.
 */
final class RankProcess implements AutoCloseable {
    private static final int LOG_LINES = 100;
    private static final int POLL_MILLIS = 200;
    private static final int STACKS_MILLIS = 2_000;
    private static final int STACKS_CHARACTERS = 1 << 18;
    private static final int LINGER_SECONDS = 30;
    /** Chosen, not tuned. */
    private static final int STOPPED_SECONDS = 3;

    private static final String STOPPED =
            "the process was stopped (SIGSTOP) for %d s, so its task ended it; look for who stops processes there: a batch system that suspends jobs, or a person"
                    .formatted(STOPPED_SECONDS);

    private final Process process;
    private final RankCommand command;
    private final Consumer<RankEvent> events;
    private final PrintStream log;
    private final Thread outputReader;
    private final Thread errorReader;
    private final UserTokens tokens = UserTokens.current();
    private final long oomKillsBefore = RankExit.oomKillsSoFar();
    private final Deque<String> lastLines = new ArrayDeque<>();
    private final CompletableFuture<Integer> storePort = new CompletableFuture<>();
    private final StringBuilder stacks = new StringBuilder();

    private volatile String label;
    private volatile String phase = "start";
    private volatile long step;
    private volatile RankEvent.@Nullable Failed failed;
    private volatile RankEvent.@Nullable Done done;
    private volatile long doneNanos;
    /** Looks in a row that found it stopped: time alone would count a pause of this JVM, too. */
    private int stoppedLooks;

    private RankProcess(Process process, RankCommand command, String label, Consumer<RankEvent> events, PrintStream log)
            throws IOException {
        this.process = process;
        this.command = command;
        this.label = label;
        this.events = events;
        this.log = log;
        this.outputReader = reader("output", process.getInputStream(), this::onOutput);
        this.errorReader = reader("log", process.getErrorStream(), this::onLog);
    }

    /**
     * Starts the child, which waits for its assignment.
     *
     * @param label stands before each of its log lines until it has a rank
     * @param events called for each event, on a thread of this object
     * @param log where its log goes
     */
    static RankProcess start(
            RankCommand command, RankStarter starter, String label, Consumer<RankEvent> events, PrintStream log)
            throws IOException {
        ProcessBuilder builder =
                new ProcessBuilder(command.line()).directory(command.directory().toFile());
        builder.environment().putAll(command.environment());
        RankProcess child = new RankProcess(starter.start(builder), command, label, events, log);
        child.outputReader.start();
        child.errorReader.start();
        return child;
    }

    long processId() {
        return process.pid();
    }

    /** Tells the child its user's tokens and who it is; its standard input stays open, since closing it tells the child to halt. */
    void assign(RankAssignment assignment) throws IOException {
        label = "rank " + assignment.rank();
        tell();
        say(JsonLines.write(assignment));
    }

    private void say(String line) throws IOException {
        OutputStream input = process.getOutputStream();
        try {
            input.write((line + "\n").getBytes(StandardCharsets.UTF_8));
            input.flush();
        } catch (IOException e) {
            if (process.isAlive()) {
                throw e; // a dead child is reported by await, with its exit code and log
            }
        }
    }

    /** Waits until rank 0 has opened the store and returns its port; -1 when the child ended before. */
    int awaitStore(Duration limit, BooleanSupplier interrupted)
            throws IOException, InterruptedException, TimeoutException {
        long deadline = System.nanoTime() + limit.toNanos();
        while (System.nanoTime() < deadline) {
            try {
                return storePort.get(POLL_MILLIS, TimeUnit.MILLISECONDS);
            } catch (TimeoutException e) {
                if (!process.isAlive()) {
                    return -1;
                }
                stopIf(interrupted);
                tell();
            } catch (ExecutionException e) {
                throw new IllegalStateException("nobody completes the port with an exception", e);
            }
        }
        throw new TimeoutException("rank 0 has not opened its rendezvous store within %d s; it is in phase %s"
                .formatted(limit.toSeconds(), phase));
    }

    /**
     * Waits for the child's end; polls, because native code in this JVM or a lost interrupt must not keep the task alive.
     *
     * @return true when the rank finished its work; {@link #failure} tells why it did not
     */
    boolean await(BooleanSupplier interrupted) throws IOException, InterruptedException {
        while (!process.waitFor(POLL_MILLIS, TimeUnit.MILLISECONDS)) {
            stopIf(interrupted);
            tell();
            if (done != null && System.nanoTime() - doneNanos > TimeUnit.SECONDS.toNanos(LINGER_SECONDS)) {
                log.printf("[%s] did not end within %d s of being done; ending it%n", label, LINGER_SECONDS);
                process.destroyForcibly();
            }
            endIfStopped();
        }
        outputReader.join(STACKS_MILLIS);
        if (process.exitValue() == 0 && done == null) { // a busy machine reads the last word late
            outputReader.join(TimeUnit.SECONDS.toMillis(LINGER_SECONDS));
        }
        errorReader.join(STACKS_MILLIS);
        return done != null;
    }

    private void tell() throws IOException {
        Optional<String> news = tokens.news();
        if (news.isPresent()) {
            say(news.get());
            log.printf("[%s] was told its user's tokens%n", label);
        }
    }

    /** One that is stopped says nothing and never ends, while its peers wait for it. */
    private void endIfStopped() {
        stoppedLooks = RankExit.isStopped(process.pid()) ? stoppedLooks + 1 : 0;
        if (isStopped()) {
            process.destroyForcibly();
        }
    }

    private boolean isStopped() {
        return stoppedLooks * POLL_MILLIS >= STOPPED_SECONDS * 1_000;
    }

    /** Why the child ended before its work was done. */
    RankFailure failure(int rank, String host) {
        RankExit exit = new RankExit(
                process.exitValue(),
                RankExit.oomKillsSoFar() - oomKillsBefore,
                RankExit.crashReportIn(command.directory()));
        exit.crashReport().forEach(this::onLog);
        RankEvent.Failed said = failed;
        if (said == null) {
            RankFailure.Cause cause = exit.bySignal() ? RankFailure.Cause.CRASHED : RankFailure.Cause.EXITED;
            String reason = isStopped() ? STOPPED : exit.describe();
            return new RankFailure(rank, host, phase, step, FailureKind.INFRASTRUCTURE, cause, reason, lastLines());
        }
        FailureKind kind = FailureKind.named(said.kind());
        return new RankFailure(rank, host, phase, said.step(), kind, cause(kind, said), said.message(), lastLines());
    }

    private static RankFailure.Cause cause(FailureKind kind, RankEvent.Failed said) {
        if (kind != FailureKind.INFRASTRUCTURE) {
            return RankFailure.Cause.REPORTED;
        }
        return said.kind().equals(RankEvent.Failed.INTERNAL) ? RankFailure.Cause.INTERNAL : RankFailure.Cause.CUT_OFF;
    }

    /** What all threads of the child do, from its JVM, which prints it on standard output when it gets SIGQUIT. */
    String stackDump() {
        synchronized (stacks) {
            stacks.setLength(0);
        }
        try {
            new ProcessBuilder("sh", "-c", "kill -QUIT " + process.pid())
                    .start()
                    .waitFor();
            outputReader.join(STACKS_MILLIS); // returns early only if the child ends
        } catch (IOException e) {
            return "no stack dump: " + e.getMessage();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        synchronized (stacks) {
            return stacks.toString();
        }
    }

    List<String> lastLines() {
        synchronized (lastLines) {
            return List.copyOf(lastLines);
        }
    }

    /** Ends the child if it still lives, and waits until it is gone and its last events are passed on. */
    @Override
    public void close() {
        boolean interrupted = false;
        process.destroyForcibly();
        while (true) {
            try {
                process.waitFor();
                outputReader.join(STACKS_MILLIS);
                break;
            } catch (InterruptedException e) {
                interrupted = true; // the child is dying; leaving before it is dead would free its GPU too early
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private void onOutput(String line) {
        RankEvent event = line.startsWith("{") ? parsed(line) : null;
        if (event == null) {
            log.printf("[%s] %s%n", label, line);
            synchronized (stacks) {
                if (stacks.length() < STACKS_CHARACTERS) {
                    stacks.append(line).append('\n');
                }
            }
            return;
        }
        if (event instanceof RankEvent.StoreOpen store) {
            storePort.complete(store.port());
        } else if (event instanceof RankEvent.Phase begun) {
            phase = begun.phase();
            step = begun.step();
        } else if (event instanceof RankEvent.Step stepped) {
            step = stepped.step();
        } else if (event instanceof RankEvent.Failed why) {
            failed = why;
        } else if (event instanceof RankEvent.Done last) {
            doneNanos = System.nanoTime();
            done = last;
        }
        events.accept(event);
    }

    private void onLog(String line) {
        log.printf("[%s] %s%n", label, line);
        synchronized (lastLines) {
            if (lastLines.size() == LOG_LINES) {
                lastLines.removeFirst();
            }
            lastLines.addLast(line);
        }
    }

    private Thread reader(String what, InputStream stream, Consumer<String> line) {
        Runnable body = () -> {
            try (BufferedReader lines = new BufferedReader(new InputStreamReader(stream, StandardCharsets.UTF_8))) {
                lines.lines().forEach(line);
            } catch (IOException | RuntimeException e) {
                log.printf("[%s] its %s can't be read any more: %s%n", label, what, e);
            }
        };
        Thread thread = new Thread(body, "rank-" + what + "-" + process.pid());
        thread.setDaemon(true);
        return thread;
    }

    private static void stopIf(BooleanSupplier interrupted) throws InterruptedException {
        if (interrupted.getAsBoolean()) {
            throw new InterruptedException("Spark ended the task");
        }
    }

    private static @Nullable RankEvent parsed(String line) {
        try {
            return JsonLines.read(line, RankEvent.class);
        } catch (JsonProcessingException e) {
            return null;
        }
    }
}
