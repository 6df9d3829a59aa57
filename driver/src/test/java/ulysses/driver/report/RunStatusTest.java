package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.mesh.RankEvent;

class RunStatusTest {
    @TempDir
    private Path folder;

    @Test
    void saysHowFarARunIsThatHasNotEnded() throws Exception {
        ReportedRun run = new ReportedRun(folder);
        run.told("");
        try (RunJournal journal = run.journal()) {
            ReportedRun.train(journal, 1, 3);
            journal.accept(new RankEvent.Saved(0, 3, "out/checkpoint-3"));
            journal.accept(new RankEvent.Warning(1, "little memory left"));
        }

        RunStatus status = status(run, Duration.ofSeconds(90)).orElseThrow();

        JsonNode json = ReportedRun.json(status.json());
        assertThat(json.path("state").asText()).isEqualTo("not ended");
        assertThat(json.path("ranks").asInt()).isEqualTo(2);
        assertThat(json.path("phase").asText()).isEqualTo("step");
        assertThat(json.path("step").asInt()).isEqualTo(3);
        assertThat(json.path("total_steps").asInt()).isEqualTo(4);
        assertThat(json.path("loss").asDouble()).isEqualTo(2);
        assertThat(json.path("tokens_per_second").asDouble()).isEqualTo(2000);
        assertThat(json.path("checkpoint_step").asInt()).isEqualTo(3);
        assertThat(json.path("checkpoint_age_seconds").asInt()).isEqualTo(90);
        assertThat(json.path("last_sign_of_life_seconds_ago").asInt()).isEqualTo(90);
        assertThat(json.path("attempts").asInt()).isEqualTo(1);
        assertThat(status.lines())
                .contains("tokens per second              2,000.0000")
                .contains("warning                        little memory left");
    }

    @Test
    void saysWhyARunFailed() {
        ReportedRun run = new ReportedRun(folder);
        try (RunJournal journal = run.journal()) {
            ReportedRun.train(journal, 1, 2);
            journal.accept(new RankEvent.Failed(1, 2, "infrastructure", "peer closed"));
            journal.failed("infrastructure", "rank 1: peer closed; giving up");
        }

        assertThat(status(run, Duration.ZERO).orElseThrow().lines())
                .contains("state                          failed")
                .contains("failure                        rank 1: peer closed; giving up")
                .noneMatch(line -> line.startsWith("seconds left"));
    }

    @Test
    void hasNotEndedBetweenTheFailureOfARankAndTheNextAttempt() {
        ReportedRun run = new ReportedRun(folder);
        try (RunJournal journal = run.journal()) {
            ReportedRun.train(journal, 1, 2);
            journal.accept(new RankEvent.Failed(1, 2, "infrastructure", "peer closed"));
        }

        assertThat(status(run, Duration.ZERO).orElseThrow().lines())
                .contains("state                          not ended")
                .noneMatch(line -> line.startsWith("failure"));
    }

    @Test
    void aRunIsDoneWhenRank0Is() {
        ReportedRun run = new ReportedRun(folder);
        try (RunJournal journal = run.journal()) {
            ReportedRun.train(journal, 1, 4);
            journal.accept(new RankEvent.Done(1, 4)); // rank 0 still writes the model
        }
        assertThat(status(run, Duration.ZERO).orElseThrow().lines())
                .contains("state                          not ended");

        try (RunJournal journal = run.journal()) {
            journal.accept(new RankEvent.Done(0, 4));
        }
        assertThat(status(run, Duration.ZERO).orElseThrow().lines()).contains("state                          done");
    }

    @Test
    void knowsNothingOfAFolderWithoutEvents() {
        assertThat(status(new ReportedRun(folder), Duration.ZERO)).isEmpty();
    }

    private static Optional<RunStatus> status(ReportedRun run, Duration later) {
        return RunStatus.read(
                run.output, ReportedRun.HADOOP, ReportedRun.CLOCK.instant().plus(later));
    }
}
