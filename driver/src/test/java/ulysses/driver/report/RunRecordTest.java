package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.driver.report.RunRecord.Ending;
import ulysses.driver.report.Series.Point;
import ulysses.runtime.mesh.RankEvent;

/** What the journal keeps is what the record tells, interruptions included. */
class RunRecordTest {
    @TempDir
    private Path folder;

    @Test
    void tellsWhatTheJournalKept() {
        ReportedRun run = new ReportedRun(folder);
        try (RunJournal journal = run.journal()) {
            ReportedRun.train(journal, 1, 4);
            journal.accept(new RankEvent.Warning(1, "little memory left"));
            journal.accept(new RankEvent.Done(0, 4));
        }

        RunRecord record = run.read();

        assertThat(record.series("loss").points())
                .containsExactly(new Point(1, 4), new Point(2, 3), new Point(3, 2), new Point(4, 1));
        assertThat(record.measured("tokens / s", step -> step.tokens() / step.seconds())
                        .points())
                .hasSize(4)
                .allSatisfy(point -> assertThat(point.value()).isEqualTo(2000));
        assertThat(record.ending()).isEqualTo(Ending.DONE);
        assertThat(record.events(RankEvent.Warning.class)).hasSize(1);
        assertThat(run.output.readText(RunJournal.TEXT))
                .contains("step 4/4  epoch 1.00  loss 1.0000")
                .contains("[rank 1] warning: little memory left");
    }

    @Test
    void stepsThatAnAttemptDoesAgainCountOnce() {
        ReportedRun run = new ReportedRun(folder);
        try (RunJournal journal = run.journal()) {
            ReportedRun.train(journal, 1, 4);
            journal.accept(new RankEvent.Failed(1, 4, "infrastructure", "peer closed"));
            ReportedRun.train(journal, 3, 3);
        }

        RunRecord record = run.read();

        assertThat(record.attempts()).isEqualTo(2);
        assertThat(record.ending()).isEqualTo(Ending.NOT_YET);
        assertThat(record.series("loss").points()).extracting(Point::step).containsExactly(1.0, 2.0, 3.0);
        assertThat(record.measured("", RankEvent.Step::loss).points())
                .extracting(Point::step)
                .containsExactly(1.0, 2.0, 3.0);
    }

    @Test
    void theFailureOfARankDoesNotEndTheRun() {
        ReportedRun run = new ReportedRun(folder);
        try (RunJournal journal = run.journal()) {
            ReportedRun.train(journal, 1, 4);
            journal.accept(new RankEvent.Failed(0, 4, "infrastructure", "peer closed"));
        }

        RunRecord record = run.read();

        assertThat(record.ending()).isEqualTo(Ending.NOT_YET);
        assertThat(record.events(RankEvent.Failed.class)).hasSize(1);
    }

    @Test
    void theFailureThatTheDriverTellsEndsTheRunUntilTheNextCommandLoads() {
        ReportedRun run = new ReportedRun(folder);
        try (RunJournal journal = run.journal()) {
            ReportedRun.train(journal, 1, 4);
            journal.failed("infrastructure", "3 attempts failed");
            assertThat(endingAfter(journal, run)).isEqualTo(Ending.FAILED);
            ReportedRun.train(journal, 3, 3);
        }

        assertThat(run.read().ending()).isEqualTo(Ending.NOT_YET);
    }

    @Test
    void everyEvaluationSetOfAStepIsKeptOnce() {
        ReportedRun run = new ReportedRun(folder);
        try (RunJournal journal = run.journal()) {
            for (double loss : new double[] {3, 2}) {
                journal.accept(ReportedRun.logged(1, loss));
                journal.accept(new RankEvent.Logged(0, 1, Map.of("eval_poems_loss", loss + 1)));
                journal.accept(new RankEvent.Logged(0, 1, Map.of("eval_letters_loss", loss + 2)));
            }
        }

        RunRecord record = run.read();

        assertThat(record.series("loss").points()).containsExactly(new Point(1, 2));
        assertThat(record.series("eval_poems_loss").points()).containsExactly(new Point(1, 3));
        assertThat(record.series("eval_letters_loss").points()).containsExactly(new Point(1, 4));
    }

    private static Ending endingAfter(RunJournal journal, ReportedRun run) {
        journal.close();
        return run.read().ending();
    }

    @Test
    void keepsStepsThatAreLoggedOnly() {
        ReportedRun run = new ReportedRun(folder);
        try (RunJournal journal = run.journal()) {
            journal.accept(ReportedRun.step(1, 4));
            journal.accept(ReportedRun.step(2, 3));
            journal.accept(ReportedRun.logged(2, 3.5));
            journal.accept(new RankEvent.StoreOpen(0, 4711));
            journal.accept(new RankEvent.Phase(1, "load", 0));
        }

        assertThat(run.output.readText(RunJournal.EVENTS).lines()).hasSize(2);
        assertThat(run.read().events(RankEvent.Step.class))
                .extracting(RankEvent.Step::step)
                .containsExactly(2L);
    }

    @Test
    void aLineThatWasCutOffIsLeftOut() {
        ReportedRun run = new ReportedRun(folder);
        try (RunJournal journal = run.journal()) {
            ReportedRun.train(journal, 1, 1);
        }
        run.output.append(RunJournal.EVENTS, "{\"time\":\"2026-01".getBytes(StandardCharsets.UTF_8));

        assertThat(run.read().series("loss").points()).hasSize(1);
    }

    @Test
    void aNewRunDeletesWhatAnEarlierOneReported() throws Exception {
        ReportedRun run = new ReportedRun(folder);
        run.recorded("sft-eval-qwen2");
        try (RunJournal journal = run.journal()) {
            ReportedRun.train(journal, 1, 2);
        }

        RunJournal.begin(run.output, 1, ReportedRun.CLOCK).close();

        assertThat(run.read().history()).isEmpty();
        assertThat(run.read().events()).isEmpty();
    }

    @Test
    void afterTheLastCheckpointEventsAreAheadOfTheState() throws Exception {
        ReportedRun run = new ReportedRun(folder);
        run.recorded("sft-eval-qwen2"); // 18 steps
        try (RunJournal journal = run.journal()) {
            ReportedRun.train(journal, 1, 20);
        }

        assertThat(run.read().series("loss").points()).hasSize(20);
    }

    @Test
    void readsAFolderOfLlamaFactory() throws Exception {
        ReportedRun run = new ReportedRun(folder);
        run.recorded("dpo-lora-sigmoid-ftx");

        RunRecord record = run.read();

        assertThat(record.arguments()).isEqualTo(Optional.empty());
        assertThat(record.series("loss").points()).hasSize(16);
        assertThat(record.series("rewards/margins").points()).hasSize(16);
        assertThat(record.names()).contains("rewards/accuracies", "logps/chosen");
    }
}
