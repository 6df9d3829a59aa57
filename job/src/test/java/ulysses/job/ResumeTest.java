package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.extension.ExtendWith;
import org.junit.jupiter.api.io.TempDir;

/**
 * A run that was interrupted ends with the weights and the log of one that was not, bit for bit, whatever was killed or damaged: two
 * sequence-parallel ranks, 36 steps over three epochs of shuffled rows, a checkpoint every fourth step.
 */
@ExtendWith(SharedCluster.class)
class ResumeTest {
    private static final int STEPS = 36;

    @TempDir
    private static Path shared;

    /** The run that nothing happened to. */
    private static Path undisturbed = Path.of("");

    @TempDir
    private Path folder;

    @BeforeAll
    static void trainUndisturbed() {
        undisturbed = shared.resolve("undisturbed");
        JobRun run = JobRun.of(arguments(shared, undisturbed)).succeeded();
        assertThat(run.out()).contains("done: %d steps".formatted(STEPS)).contains("1 attempt(s)");
    }

    /** Five faults in one run, each behind a newer checkpoint; what has ended is submitted again with the same command. */
    @Test
    void endsLikeTheUndisturbedRunAfterFiveFaults() throws Exception {
        Path output = folder.resolve("out");

        givesUpWhenARankIsKilled(output);
        leavesNothingBehindWhenTheDriverIsKilled(output);
        flipOneByte(
                output.resolve("checkpoint-" + Chaos.newestCheckpoint(output).orElseThrow()), "model-rank00001");
        JobRun run = JobRun.of(arguments(folder, output)).succeeded();

        assertThat(run.out())
                .contains("found prepared rows")
                .contains("1 attempt(s)")
                .containsPattern("checkpoint-\\d+ is passed over: checkpoint file .*model-rank00001.* is damaged");
        expectSameAsUndisturbed(output);
    }

    private void givesUpWhenARankIsKilled(Path output) throws Exception {
        CompletableFuture<JobRun> running =
                CompletableFuture.supplyAsync(() -> JobRun.of(arguments(folder, output, "max_attempts=1")));
        awaitStepAfterCheckpoint(output);

        ProcessHandle rank = Chaos.ranks(ProcessHandle.current().descendants()).get(1);
        assertThat(rank.destroyForcibly()).isTrue();
        JobRun run = running.get();

        assertThat(run.code()).isEqualTo(5);
        assertThat(run.err())
                .containsPattern(
                        "error: attempt 1: rank [01] on host 127.0.0.1 failed in phase \\w+ at step \\d+: the process"
                                + " was ended by signal 9")
                .contains("last lines of its log:")
                .contains("checkpoint at step 4")
                .containsPattern(
                        "giving up: 1 attempts failed since the newest checkpoint, step \\d+ \\(max_attempts 1\\); the same"
                                + " command goes on from there");
        assertThat(output.resolve("model.safetensors")).doesNotExist();
    }

    /** After it went on by itself from a rank that was stopped and an executor that was killed. */
    private void leavesNothingBehindWhenTheDriverIsKilled(Path output) throws Exception {
        List<ProcessHandle> started;
        try (Chaos chaos = Chaos.begin(folder, output, new Random(7), arguments(folder, output))) {
            Chaos.Recovery stopped = chaos.endure(Chaos.Fault.STOP_RANK);
            Chaos.Recovery lost = chaos.endure(Chaos.Fault.KILL_EXECUTOR);
            chaos.awaitNewCheckpoint();
            started = chaos.job().descendants();
            chaos.inflict(Chaos.Fault.KILL_DRIVER);

            Measured.note("until noticed and until the next step: %s, %s".formatted(stopped, lost));
            assertThat(stopped.message()).contains("attempt 1: rank").contains("the process was stopped (SIGSTOP)");
            assertThat(lost.message()).contains("attempt 2: rank").contains("Spark lost executor");
            assertThat(chaos.submissions()).isEqualTo(1);
        }
        assertThat(Chaos.ranks(started.stream())).hasSize(2);
        assertThat(started).hasSizeGreaterThanOrEqualTo(4); // an executor for each rank
        Chaos.awaitEnd(started);
        assertThat(output.resolve("model.safetensors")).doesNotExist();
    }

    /** Two submissions into one folder: the first trains on, the second says who does and ends; a dead first one is no obstacle. */
    @Test
    void twoSubmissionsDoNotTrainIntoOneFolder() throws Exception {
        Path output = folder.resolve("out");
        try (JobProcess first =
                JobProcess.start(folder, List.of(), List.of(arguments(folder, output, "num_train_epochs=2000")))) {
            awaitStepAfterCheckpoint(output);

            JobRun second = JobRun.of(arguments(folder, output, "num_train_epochs=2000"));

            assertThat(second.code()).isEqualTo(5);
            assertThat(second.err())
                    .containsPattern("error: .*/out is being trained into by another run \\(user \\S+, process "
                            + first.process().pid()
                            + " on host \\S+, run \\S+\\), which holds its lease since \\S+ and is alive; wait until that"
                            + " run ends or stop it, or choose another output_dir");
            assertThat(first.process().isAlive()).isTrue();
        }
    }

    @Test
    void givesUpWhenLossesAreNotFiniteAndNamesTheRows() {
        JobRun run = JobRun.of(arguments(folder, folder.resolve("out"), "learning_rate=1e30", "warmup_ratio=0.0"));

        assertThat(run.code()).isEqualTo(4);
        assertThat(run.err())
                .containsPattern(
                        "step \\d+: loss \\S+, gradient norm \\S+, not finite; rows [0-9, ]+; 3 steps in a row were not"
                                + " finite, limit 3")
                .contains("Lower learning_rate");
        assertThat(run.out()).contains("the step is skipped on all ranks");
    }

    /** The newest checkpoint is damaged, and another number of ranks goes on from the one before it. */
    @Test
    void anotherNumberOfRanksGoesOnFromTheCheckpointBeforeADamagedOne() throws IOException {
        Path output = folder.resolve("out");
        copyUndisturbedUpTo(24, output);
        flipOneByte(output.resolve("checkpoint-24"), "optimizer-rank00001");

        JobRun run = JobRun.of(arguments(shared, output, "num_ranks=1", "sequence_parallel_size=1"))
                .succeeded();

        assertThat(run.out())
                .containsPattern("checkpoint-24 is passed over: checkpoint file .*optimizer-rank00001.* is damaged: its"
                        + " checksum does not match; use the checkpoint before it");
        assertThat(new Results(output).lines("trainer_log.jsonl")).hasSize(STEPS + 1);
        Results ours = new Results(output);
        Results theirs = new Results(undisturbed);
        double[] losses = ours.series("loss");
        assertThat(losses).hasSize(STEPS).containsExactly(theirs.series("loss"), within(1e-5));
        double weights =
                ours.weights().deviation(theirs.weights(), Weights.ofCheckpoint(output.resolve("checkpoint-20")));
        Measured.note("16 of 36 steps on another number of ranks: weights %.1e of their way".formatted(weights));
        assertThat(weights).isPositive().isLessThan(1e-3);
    }

    @Test
    void refusesToGoOnFromADamagedCheckpointThatWasAskedFor() throws IOException {
        Path output = folder.resolve("out");
        Path checkpoint = folder.resolve("checkpoint-8");
        Resources.copy(undisturbed.resolve("checkpoint-8"), checkpoint);
        flipOneByte(checkpoint, "model-rank00000");

        JobRun run = JobRun.of(arguments(shared, output, "resume_from_checkpoint=" + checkpoint));

        assertThat(run.code()).isEqualTo(6);
        assertThat(run.err())
                .containsPattern("checkpoint file .*model-rank00000.* is damaged: its checksum does not match; use the"
                        + " checkpoint before it");
        assertThat(output.resolve("model.safetensors")).doesNotExist();
    }

    /** Before a rank starts, and so before a GPU is asked for. */
    @Test
    void refusesToGoOnWithAnotherBatchSeedOrRowsInTheDriver() throws IOException {
        Path output = folder.resolve("out");
        copyUndisturbedUpTo(24, output);

        for (String changed : List.of("gradient_accumulation_steps=8", "data_seed=1")) {
            JobRun run = JobRun.of(arguments(shared, output, changed));
            assertThat(run.code()).isEqualTo(2);
            assertThat(run.err())
                    .contains("checkpoint-24 was trained with global_batch 4, seed 42, data_seed 42")
                    .doesNotContain("attempt 1");
        }
        for (String changed : List.of("seed=1", "max_samples=40")) {
            JobRun run = JobRun.of(arguments(shared, output, changed));
            assertThat(run.code()).isEqualTo(6);
            assertThat(run.err())
                    .contains("checkpoint-24 was trained on other rows")
                    .doesNotContain("attempt 1");
        }
        assertThat(output.resolve("checkpoint-24").resolve("MANIFEST.json")).exists();
    }

    private static void expectSameAsUndisturbed(Path output) throws IOException {
        assertThat(Files.mismatch(output.resolve("model.safetensors"), undisturbed.resolve("model.safetensors")))
                .as("first different byte of the weights")
                .isEqualTo(-1);
        Results ours = new Results(output);
        Results theirs = new Results(undisturbed);
        assertThat(ours.steps()).hasSize(STEPS).isEqualTo(theirs.steps());
        assertThat(ours.lines("trainer_log.jsonl").stream()
                        .map(line -> line.path("current_steps").intValue()))
                .isEqualTo(theirs.lines("trainer_log.jsonl").stream()
                        .map(line -> line.path("current_steps").intValue())
                        .toList());
        assertThat(ours.summary().path("train_loss")).isEqualTo(theirs.summary().path("train_loss"));
        assertThat(output.resolve("checkpoint-" + STEPS).resolve("MANIFEST.json"))
                .exists();
    }

    /** Some step after the sixth, with a checkpoint at the fourth: far enough, and not at the end. */
    private static void awaitStepAfterCheckpoint(Path output) throws InterruptedException {
        Await.that("step 6", Duration.ofMinutes(2), () -> {
            try (Stream<String> lines = Files.lines(output.resolve("trainer_log.jsonl"))) {
                return lines.count() >= 6;
            } catch (IOException | UncheckedIOException e) {
                return false; // not there yet
            }
        });
        assertThat(output.resolve("checkpoint-4").resolve("MANIFEST.json")).exists();
        assertThat(output.resolve("model.safetensors")).doesNotExist();
    }

    private static void flipOneByte(Path checkpoint, String name) throws IOException {
        try (Stream<Path> files = Files.walk(checkpoint)) {
            Path file = files.filter(candidate -> candidate.toString().contains(name))
                    .findFirst()
                    .orElseThrow();
            byte[] bytes = Files.readAllBytes(file);
            bytes[bytes.length / 2] ^= 1;
            Files.write(file, bytes);
        }
    }

    /** The undisturbed run as it was when the checkpoint of {@code last} was its newest. */
    private static void copyUndisturbedUpTo(int last, Path output) throws IOException {
        Resources.copy(undisturbed, output);
        for (int step = last + 4; step <= STEPS; step += 4) {
            delete(output.resolve("checkpoint-" + step));
        }
        Files.delete(output.resolve("model.safetensors"));
    }

    private static void delete(Path folder) throws IOException {
        try (Stream<Path> found = Files.walk(folder)) {
            for (Path path : found.sorted(Comparator.reverseOrder()).toList()) {
                Files.delete(path);
            }
        }
    }

    /** A run of 36 steps, unless {@code more} says otherwise. */
    static String[] arguments(Path folder, Path output, String... more) {
        Path quickstart = Resources.QUICKSTART.toAbsolutePath().normalize();
        List<String> arguments = List.of(
                "train",
                Resources.yaml(folder.resolve("resume.yaml"), """
                        stage: sft
                        do_train: true
                        finetuning_type: full
                        train_from_scratch: true
                        template: llama3
                        dataset: identity
                        max_samples: 48
                        cutoff_len: 256
                        sequence_parallel_size: 2
                        num_ranks: 2
                        per_device_train_batch_size: 1
                        gradient_accumulation_steps: 4
                        num_train_epochs: 3.0
                        learning_rate: 2.0e-3
                        lr_scheduler_type: cosine
                        warmup_ratio: 0.1
                        weight_decay: 0.01
                        logging_steps: 1
                        save_steps: 4
                        """),
                "model_name_or_path=" + quickstart.resolve("model"),
                "dataset_dir=" + quickstart.resolve("data"),
                "output_dir=" + output);
        return Stream.concat(arguments.stream(), Stream.of(more)).toArray(String[]::new);
    }
}
