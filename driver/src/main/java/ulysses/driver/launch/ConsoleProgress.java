package ulysses.driver.launch;

import java.io.PrintStream;
import java.time.Duration;
import java.util.Locale;
import java.util.function.Consumer;
import ulysses.runtime.mesh.RankEvent;

/**
 * Shows a run to whoever started it: a progress bar that is drawn over on a terminal, one line per logging step elsewhere. Warnings,
 * evaluations, checkpoints and failures get a line of their own in both.
 */
public final class ConsoleProgress implements Consumer<RankEvent> {
    private static final int BAR_CELLS = 24;
    /** Weight of the newest step in the smoothed time of a step; chosen, not tuned. */
    private static final double SMOOTHING = 0.2;

    private final PrintStream out;
    private final boolean terminal;
    private final int loggingSteps;
    private double secondsPerStep;
    private int drawn;

    private ConsoleProgress(PrintStream out, boolean terminal, int loggingSteps) {
        this.out = out;
        this.terminal = terminal;
        this.loggingSteps = Math.max(1, loggingSteps);
    }

    /** A bar, for a terminal. */
    public static ConsoleProgress bar(PrintStream out, int loggingSteps) {
        return new ConsoleProgress(out, true, loggingSteps);
    }

    /** Lines, for a log file. */
    public static ConsoleProgress lines(PrintStream out, int loggingSteps) {
        return new ConsoleProgress(out, false, loggingSteps);
    }

    /** A bar when this process talks to a terminal, lines otherwise. */
    @SuppressWarnings("SystemConsoleNull") // Spark 4 runs on 17 and 21, where no console means no terminal
    public static ConsoleProgress fitting(PrintStream out, int loggingSteps) {
        return new ConsoleProgress(out, System.console() != null, loggingSteps);
    }

    @Override
    public synchronized void accept(RankEvent event) {
        if (event instanceof RankEvent.Step step) {
            show(step);
        } else if (event instanceof RankEvent.Evaluated evaluated) {
            line("evaluation after step %d: %s_loss %s"
                    .formatted(evaluated.step(), evaluated.set(), loss(evaluated.loss())));
        } else if (event instanceof RankEvent.Saved saved) {
            line("checkpoint of step %d: %s".formatted(saved.step(), saved.path()));
        } else if (event instanceof RankEvent.Warning warning) {
            line("[rank %d] warning: %s".formatted(warning.rank(), warning.message()));
        } else if (event instanceof RankEvent.Phase phase
                && phase.rank() == 0
                && !phase.phase().equals("step")) {
            line("phase %s at step %d".formatted(phase.phase(), phase.step()));
        } else if (event instanceof RankEvent.Failed failed) {
            line("[rank %d] failed at step %d: %s".formatted(failed.rank(), failed.step(), failed.message()));
        } else if (event instanceof RankEvent.Done done && done.rank() == 0) {
            line("rank 0 is done after %d steps".formatted(done.steps()));
        }
    }

    private void show(RankEvent.Step step) {
        secondsPerStep =
                secondsPerStep == 0 ? step.seconds() : SMOOTHING * step.seconds() + (1 - SMOOTHING) * secondsPerStep;
        boolean last = step.step() >= step.totalSteps();
        if (terminal) {
            draw(bar(step) + " " + text(step));
            if (last) {
                endBar();
            }
        } else if (last || step.step() % loggingSteps == 0) {
            line(text(step));
        }
    }

    private String text(RankEvent.Step step) {
        double left = Math.max(0, step.totalSteps() - step.step()) * secondsPerStep;
        return String.format(
                Locale.ROOT,
                "step %d/%d  epoch %.2f  loss %s  lr %.2e  grad norm %.3f  %.0f tokens/s  left %s",
                step.step(),
                step.totalSteps(),
                step.epoch(),
                loss(step.loss()),
                step.learningRate(),
                step.gradNorm(),
                step.seconds() > 0 ? step.tokens() / step.seconds() : 0,
                duration(Duration.ofSeconds(Math.round(left))));
    }

    private static String bar(RankEvent.Step step) {
        double done = step.totalSteps() > 0 ? Math.min(1, (double) step.step() / step.totalSteps()) : 1;
        int cells = (int) Math.round(done * BAR_CELLS);
        return String.format(
                Locale.ROOT, "[%s%s] %3d%%", "#".repeat(cells), ".".repeat(BAR_CELLS - cells), Math.round(done * 100));
    }

    private static String loss(double loss) {
        return String.format(Locale.ROOT, "%.4f", loss);
    }

    /** A time for people: 2h 05m, 5m 12s or 12s. */
    public static String duration(Duration time) {
        if (time.toHours() > 0) {
            return "%dh %02dm".formatted(time.toHours(), time.toMinutesPart());
        }
        return time.toMinutes() > 0
                ? "%dm %02ds".formatted(time.toMinutes(), time.toSecondsPart())
                : "%ds".formatted(time.toSeconds());
    }

    /** Over the line before; blanks wipe what a longer one left. */
    private void draw(String bar) {
        out.print("\r" + bar + " ".repeat(Math.max(0, drawn - bar.length())));
        out.flush();
        drawn = bar.length();
    }

    private void endBar() {
        if (drawn > 0) {
            out.println();
            drawn = 0;
        }
    }

    private void line(String text) {
        endBar();
        out.println(text);
        out.flush();
    }
}
