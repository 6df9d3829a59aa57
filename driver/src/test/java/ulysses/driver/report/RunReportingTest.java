package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatCode;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.StorageException;

class RunReportingTest {
    @TempDir
    private Path folder;

    @Test
    void notesWhatMadeARunFailWhoseRanksWereDone() throws IOException {
        ReportedRun run = new ReportedRun(folder);
        try (RunReporting reporting = begin(run)) {
            reporting.accept(new RankEvent.Phase(0, "load", 0));
            reporting.accept(new RankEvent.Done(0, 4));

            reporting.failed(new StorageException("no room for the tokenizer"));
        }

        assertThat(run.read().ending()).isEqualTo(RunRecord.Ending.FAILED);
        assertThat(run.read().events(RankEvent.Failed.class))
                .containsExactly(new RankEvent.Failed(RunRecord.DRIVER, 0, "storage", "no room for the tokenizer"));
    }

    @Test
    void aPartThatFailsStopsNeitherTheOthersNorTheRun() throws IOException {
        ReportedRun run = new ReportedRun(folder);
        try (RunReporting reporting = begin(run)) {
            reporting.accept(new RankEvent.Phase(0, "load", 0));
            reporting.accept(ReportedRun.step(1, 3));
            reporting.accept(ReportedRun.logged(1, 3));
            Path events = folder.resolve("out").resolve(RunJournal.EVENTS);
            Files.createDirectory(events); // in the way of the journal

            RunReporting.Made made = reporting.finished();

            assertThat(made.places()).hasSize(1).allMatch(place -> place.startsWith("tensorboard: "));
        }
        try (var files = Files.walk(folder)) {
            assertThat(files.filter(file -> file.toString().contains("tfevents"))
                            .map(Path::toFile))
                    .singleElement()
                    .satisfies(file -> assertThat(file.length()).isGreaterThan(100));
        }
    }

    @Test
    void aFailureOfTheJournalDoesNotHideThatOfTheRun() throws IOException {
        ReportedRun run = new ReportedRun(folder);
        try (RunReporting reporting = begin(run)) {
            Files.createDirectory(folder.resolve("out").resolve(RunJournal.EVENTS));

            assertThatCode(() -> reporting.failed(new StorageException("the reason")))
                    .doesNotThrowAnyException();
        }
    }

    private static RunReporting begin(ReportedRun run) throws IOException {
        ConfigFile.Loaded loaded = run.told("report_to: tensorboard");
        return RunReporting.begin(run.arguments(loaded), loaded.config(), Map.of(), ReportedRun.HADOOP);
    }
}
