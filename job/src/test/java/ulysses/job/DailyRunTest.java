package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/** One command for every day: it reads the day's files and goes on from the model of the day before. */
@ExtendWith(SharedCluster.class)
class DailyRunTest {
    @TempDir
    private Path folder;

    @Test
    void eachDayReadsItsFilesAndGoesOnFromTheModelOfTheDayBefore() throws IOException {
        Files.writeString(folder.resolve("dataset_info.json"), "{\"daily\": {\"file_name\": \"{date}.jsonl\"}}");
        rows("2026-01-01", 8);
        rows("2026-01-02", 6);

        JobRun first = day("2026-01-01", "5e-3").succeeded();
        JobRun second = day("2026-01-02", "1e-30").succeeded(); // too little to change a weight

        assertThat(first.out())
                .contains("day 2026-01-01: no earlier day is done, so it begins with what the configuration names")
                .contains("random weights")
                .contains("training: 8 rows read");
        assertThat(second.out())
                .contains("day 2026-01-02: goes on from " + folder.resolve("models/2026-01-01"))
                .contains("training: 6 rows read")
                .contains("done: 1 steps");
        assertThat(Weights.of(folder.resolve("models/2026-01-02"))
                        .distance(Weights.of(folder.resolve("models/2026-01-01"))))
                .isZero();
        assertThat(folder.resolve("models/2026-01-01/prepared/train")).exists();
        assertThat(folder.resolve("models/2026-01-02/prepared/train")).exists();
    }

    private void rows(String date, int count) throws IOException {
        Files.writeString(
                folder.resolve(date + ".jsonl"),
                IntStream.range(0, count)
                        .mapToObj(i -> "{\"instruction\": \"count to %d\", \"input\": \"\", \"output\": \"%d on %s\"}%n"
                                .formatted(i, i, date))
                        .collect(Collectors.joining()));
    }

    private JobRun day(String date, String rate) {
        String yaml = Resources.yaml(folder.resolve("nightly.yaml"), """
                stage: sft
                finetuning_type: full
                template: llama3
                dataset: daily
                cutoff_len: 64
                sequence_parallel_size: 2
                num_ranks: 2
                per_device_train_batch_size: 2
                max_steps: 1
                logging_steps: 1
                train_from_scratch: true
                """);
        return JobRun.of(
                "train",
                yaml,
                "model_name_or_path="
                        + Resources.QUICKSTART.resolve("model").toAbsolutePath().normalize(),
                "dataset_dir=" + folder,
                "output_dir=" + folder + "/models/{date}",
                "learning_rate=" + rate,
                "--date",
                date);
    }
}
