package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.mesh.RankEvent;

final class RankProcessTest {

    /** Longer than a reader is waited for when a rank has ended with a code. */
    private static final int LATE_MILLIS = 3_000;

    @TempDir
    private Path directory;

    @Test
    void aLastWordThatIsReadLateCounts() throws Exception {
        String words =
                JsonLines.write(new RankEvent.Phase(0, "step", 1)) + "\n" + JsonLines.write(new RankEvent.Done(0, 1));
        RankCommand command = new RankCommand(List.of("printf", "%s\n", words), Map.of(), directory);

        try (RankProcess rank =
                RankProcess.start(command, RankStarter.PROCESS, "rank", RankProcessTest::readSlowly, nowhere())) {
            assertThat(rank.await(() -> false)).isTrue();
        }
    }

    @Test
    void aRankThatSaysNothingIsNotDone() throws Exception {
        RankCommand command = new RankCommand(List.of("true"), Map.of(), directory);

        try (RankProcess rank =
                RankProcess.start(command, RankStarter.PROCESS, "rank", RankProcessTest::readSlowly, nowhere())) {
            assertThat(rank.await(() -> false)).isFalse();
            assertThat(rank.failure(0, "host").reason()).contains("without saying that it was done");
        }
    }

    private static void readSlowly(RankEvent event) {
        try {
            Thread.sleep(event instanceof RankEvent.Phase ? LATE_MILLIS : 0);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static PrintStream nowhere() {
        return new PrintStream(OutputStream.nullOutputStream());
    }
}
