package ulysses.driver.launch;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.util.List;
import org.junit.jupiter.api.Test;
import ulysses.runtime.mesh.RankEvent;

class ConsoleProgressTest {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    private final PrintStream out = new PrintStream(bytes, true, UTF_8);

    @Test
    void printsOneLinePerLoggingStepAndTheLastOne() {
        ConsoleProgress progress = ConsoleProgress.lines(out, 2);

        for (long step = 1; step <= 5; step++) {
            progress.accept(step(step, 5));
        }

        assertThat(lines())
                .containsExactly(
                        "step 2/5  epoch 0.40  loss 1.5000  lr 1.00e-04  grad norm 0.750  250 tokens/s  left 6s",
                        "step 4/5  epoch 0.80  loss 1.5000  lr 1.00e-04  grad norm 0.750  250 tokens/s  left 2s",
                        "step 5/5  epoch 1.00  loss 1.5000  lr 1.00e-04  grad norm 0.750  250 tokens/s  left 0s");
    }

    @Test
    void drawsTheBarOverItselfAndEndsItBeforeOtherLines() {
        ConsoleProgress progress = ConsoleProgress.bar(out, 1);

        progress.accept(step(1, 4));
        progress.accept(new RankEvent.Saved(0, 1, "out/checkpoint-1"));
        progress.accept(step(2, 4));

        List<String> lines = lines();
        assertThat(lines).hasSize(3);
        assertThat(lines.get(0)).startsWith("\r[######..................]  25% step 1/4");
        assertThat(lines.get(1)).isEqualTo("checkpoint of step 1: out/checkpoint-1");
        assertThat(lines.get(2)).startsWith("\r[############............]  50% step 2/4");
    }

    @Test
    void leavesStepPhasesToTheStepLineAndShowsOtherPhasesOfRankZeroOnly() {
        ConsoleProgress progress = ConsoleProgress.lines(out, 1);

        progress.accept(new RankEvent.Phase(0, "load", 0));
        progress.accept(new RankEvent.Phase(1, "load", 0));
        progress.accept(new RankEvent.Phase(0, "step", 1));
        progress.accept(new RankEvent.Warning(1, "little memory left"));

        assertThat(lines()).containsExactly("phase load at step 0", "[rank 1] warning: little memory left");
    }

    private static RankEvent.Step step(long step, long total) {
        return new RankEvent.Step(0, step, total, (double) step / total, 1.5, 0.75, 1e-4, 500, 2.0, 1 << 20);
    }

    private List<String> lines() {
        return List.of(bytes.toString(UTF_8).split("\n"));
    }
}
