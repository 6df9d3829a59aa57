package ulysses.driver.report;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.util.List;
import java.util.function.Consumer;
import org.jspecify.annotations.Nullable;
import ulysses.driver.launch.ConsoleProgress;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.Folder;

/**
 * What happened in a run, kept in {@code output_dir} as it happens: {@code run_events.jsonl} for {@link RunRecord}, with steps at
 * logging steps only, and {@code running_log.txt}, the lines of the console, which LLaMA-Factory's web board shows. Events may come
 * from any thread.
 */
public final class RunJournal implements Consumer<RankEvent>, AutoCloseable {
    /** One {@link TimedEvent} a line. */
    public static final String EVENTS = "run_events.jsonl";

    /** Text for people. */
    public static final String TEXT = "running_log.txt";

    private static final Duration BETWEEN_WRITES =
            Duration.ofSeconds(10); // S3 has no append: each write sends the file

    private final Folder output;
    private final Clock clock;
    private final ByteArrayOutputStream events = new ByteArrayOutputStream();
    private final ByteArrayOutputStream text = new ByteArrayOutputStream();
    private final PrintStream textLines = new PrintStream(text, true, StandardCharsets.UTF_8);
    private final ConsoleProgress console;
    private Instant lastWrite;
    private RankEvent.@Nullable Step step;
    private RankEvent.@Nullable Measured measured;

    private RunJournal(Folder output, int loggingSteps, Clock clock) {
        this.output = output;
        this.clock = clock;
        this.console = ConsoleProgress.lines(textLines, loggingSteps);
        this.lastWrite = clock.instant();
    }

    /** The journal of a run that begins anew: what an earlier one reported is deleted. */
    public static RunJournal begin(Folder output, int loggingSteps, Clock clock) {
        List.of(EVENTS, TEXT, RunRecord.STATE, RunRecord.RESULTS, "train_results.json", "eval_results.json")
                .forEach(output::delete);
        return resume(output, loggingSteps, clock);
    }

    /** The journal of a run that goes on, or of the first one. */
    public static RunJournal resume(Folder output, int loggingSteps, Clock clock) {
        return new RunJournal(output, loggingSteps, clock);
    }

    @Override
    public synchronized void accept(RankEvent event) {
        console.accept(event);
        if (event instanceof RankEvent.Step newer) {
            step = newer;
        } else if (event instanceof RankEvent.Measured newer) {
            measured = newer;
        } else if (event instanceof RankEvent.Logged logged) {
            writeStep(logged.step());
            write(logged);
        } else if (isWorthKeeping(event)) {
            write(event);
        }
        if (Duration.between(lastWrite, clock.instant()).compareTo(BETWEEN_WRITES) >= 0) {
            flush();
        }
    }

    /** A rank repeats its phase, once a second at most, while it makes progress, and a port means nothing later. */
    static boolean isWorthKeeping(RankEvent event) {
        return !(event instanceof RankEvent.StoreOpen)
                && (!(event instanceof RankEvent.Phase phase)
                        || (phase.rank() == 0 && !phase.phase().equals("step")));
    }

    private void writeStep(long logged) {
        if (step != null && step.step() == logged) {
            write(step);
        }
        if (measured != null && measured.step() == logged) {
            write(measured);
        }
    }

    /** Keeps why the run ended, as the user is told. */
    public synchronized void failed(String kind, String message) {
        textLines.println("failed: " + message);
        write(new RankEvent.Failed(RunRecord.DRIVER, step == null ? 0 : step.step(), kind, message));
        flush();
    }

    private void write(RankEvent event) {
        byte[] line = (new TimedEvent(clock.instant(), event).toLine() + "\n").getBytes(StandardCharsets.UTF_8);
        events.write(line, 0, line.length);
    }

    private void flush() {
        append(EVENTS, events);
        append(TEXT, text);
        lastWrite = clock.instant();
    }

    private void append(String name, ByteArrayOutputStream unwritten) {
        if (unwritten.size() > 0) {
            output.append(name, unwritten.toByteArray());
            unwritten.reset();
        }
    }

    /** Writes what is left. */
    @Override
    public synchronized void close() {
        flush();
    }
}
