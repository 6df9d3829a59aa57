package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TuningConfig;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.Folder;

class EarlierDaysTest {
    @TempDir
    private Path folder;

    @ParameterizedTest
    @ValueSource(strings = {"{date}", "{date}/model", "run-{date}-a", "{date}_{date}/x/{date}"})
    void findsTheNewestDayBeforeThatIsDone(String name) {
        String pattern = folder + "/" + name;
        run(pattern, "2026-01-30", new RankEvent.Done(0, 3));
        run(pattern, "2026-01-31", new RankEvent.Done(0, 3));
        run(pattern, "2026-02-01", new RankEvent.Failed(RunRecord.DRIVER, 3, "infrastructure", "peer closed"));
        run(pattern, "2026-02-02", new RankEvent.Phase(0, "load", 0));
        run(pattern, "2026-02-03", new RankEvent.Done(0, 3));
        run(pattern, "2026-02-04", new RankEvent.Done(0, 3));

        assertThat(days("2026-02-03", pattern).newest()).hasValue(pattern.replace("{date}", "2026-01-31"));
        assertThat(days("2026-02-04", pattern).newest()).hasValue(pattern.replace("{date}", "2026-02-03"));
        assertThat(days("2026-01-30", pattern).newest()).isEmpty();
    }

    @Test
    void takesNoOtherFolderForADay() throws IOException {
        String pattern = folder + "/run-{date}";
        run(folder + "/other-{date}", "2026-01-30", new RankEvent.Done(0, 3));
        run(folder + "/run-{date}-x", "2026-01-30", new RankEvent.Done(0, 3));
        Files.createDirectories(folder.resolve("run-2026-01-29"));
        Files.writeString(folder.resolve("run-2026-01-28"), "a file");

        assertThat(days("2026-02-03", pattern).newest()).isEmpty();
        assertThat(days("2026-02-03", folder + "/absent/{date}").newest()).isEmpty();
    }

    @Test
    void goesOnWithTheModelOrTheAdapter() throws IOException {
        TrainingConfig full =
                new ReportedRun(folder).told("train_from_scratch: true").config();
        TrainingConfig lora =
                new ReportedRun(folder).told("finetuning_type: lora").config();

        TrainingConfig afterFull = EarlierDays.after("/models/2026-01-31", full);
        TrainingConfig afterLora = EarlierDays.after("/models/2026-01-31", lora);

        assertThat(afterFull.model().modelNameOrPath()).isEqualTo("/models/2026-01-31");
        assertThat(afterFull.model().trainFromScratch()).isFalse();
        assertThat(afterLora.model()).isEqualTo(lora.model());
        assertThat(((TuningConfig.Lora) afterLora.tuning()).adapters()).isEqualTo(List.of("/models/2026-01-31"));
    }

    private static EarlierDays days(String date, String pattern) {
        return new EarlierDays(new TrainingConfig.Day(date, pattern), ReportedRun.HADOOP);
    }

    private static void run(String pattern, String date, RankEvent last) {
        Folder output = Folder.at(pattern.replace("{date}", date), ReportedRun.HADOOP);
        try (RunJournal journal = RunJournal.resume(output, 1, ReportedRun.CLOCK)) {
            ReportedRun.train(journal, 1, 3);
            journal.accept(last);
        }
    }
}
