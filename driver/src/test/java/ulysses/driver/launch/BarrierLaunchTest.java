package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowableOfType;
import static ulysses.driver.launch.LocalCluster.await;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.mesh.RankMesh;

/** Ranks as real processes under real executors; only the model is missing. */
@Timeout(value = 60, unit = TimeUnit.SECONDS)
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class BarrierLaunchTest {
    private static LocalCluster cluster;

    @TempDir
    private Path output;

    private final List<RankEvent> events = new CopyOnWriteArrayList<>();
    private String runId;

    @BeforeAll
    static void startCluster() {
        cluster = LocalCluster.start(new EmbeddedCluster(2, 1, 512), Map.of("spark.ulysses.driver.lostAfter", "6s"));
    }

    @AfterAll
    static void stopCluster() {
        cluster.close();
    }

    @BeforeEach
    void nameRun(TestInfo test) {
        runId = test.getTestMethod().orElseThrow().getName();
    }

    @AfterEach
    void noProcessIsLeft() {
        assertThat(LocalCluster.rankProcesses(runId)).isEmpty();
    }

    @Test
    void runsAllRanksToTheirEndAndReportsEveryEvent() throws Exception {
        RunOutcome outcome = run("steps=5,save=2", 1, 30);

        assertThat(outcome.attempts()).isEqualTo(1);
        assertThat(outcome.lastStep().orElseThrow().step()).isEqualTo(5);
        assertThat(outcome.saved().orElseThrow().step()).isEqualTo(4);
        assertThat(steps()).containsExactly(1L, 2L, 3L, 4L, 5L);
        assertThat(events).contains(new RankEvent.Done(0, 5), new RankEvent.Done(1, 5));
    }

    @Test
    void showsRankHostStepReasonAndLogOfARankThatFails() {
        LaunchException failure = failure("steps=9,act=throw,rank=1,at=3,kind=data", 3, 30);

        assertThat(failure.kind()).isEqualTo(FailureKind.DATA);
        assertThat(failure)
                .hasMessageMatching(
                        "(?s)attempt 1: rank 1 on host (127\\.0\\.0\\.1|localhost)" // as Spark calls it
                                + " failed in phase step at step 3: boom at step 3\n.*")
                .hasMessageContaining("last lines of its log")
                .hasMessageContaining("| step 3 begins")
                .hasMessageContaining("IllegalStateException: boom at step 3");
    }

    @Test
    void triesAgainWhereARankThatTrainedEndsWithoutAWord() {
        LaunchException failure = failure("steps=9,act=exit,rank=1,at=2,attempts=9", 2, 30);

        assertThat(failure.kind()).isEqualTo(FailureKind.INFRASTRUCTURE);
        assertThat(failure).hasMessageContaining("attempt 2: rank 1").hasMessageContaining("ended with code 9");
    }

    @Test
    void triesAFaultOfTheProgramOnceMoreAndNotAThirdTime() {
        LaunchException failure = failure("steps=9,act=throw,rank=1,at=2,attempts=9,kind=internal", 5, 30);

        assertThat(failure.kind()).isEqualTo(FailureKind.INFRASTRUCTURE);
        assertThat(failure)
                .hasMessageContaining("attempt 2: rank 1")
                .hasMessageContaining("boom at step 2")
                .hasMessageContaining("giving up: the attempt before it failed alike at the same step");
    }

    @Test
    void namesTheSignalAndGivesUpAfterAttemptsWithoutACheckpoint() {
        LaunchException failure = failure("steps=9,act=kill,rank=1,at=2,attempts=9", 2, 30);

        assertThat(failure.kind()).isEqualTo(FailureKind.INFRASTRUCTURE);
        assertThat(failure)
                .hasMessageContaining("attempt 2: rank 1")
                .hasMessageContaining("signal 9 (SIGKILL)")
                .hasMessageContaining(
                        "2 attempts failed since the newest checkpoint, where the run began (max_attempts 2)");
    }

    @Test
    void countsTheAttemptThatMadeTheNewestCheckpointAndFailedAfterIt() {
        LaunchException failure = failure("steps=9,save=2,act=kill,rank=1,at=4,attempts=9", 2, 30);

        assertThat(failure)
                .hasMessageContaining("attempt 2: rank 1")
                .hasMessageContaining("2 attempts failed since the newest checkpoint, step 2 (max_attempts 2)");
    }

    @Test
    void saysWhereAndWhyNoProcessCouldBeStarted() {
        BarrierLaunch launch = new BarrierLaunch(cluster.spark(), ParallelConfig.Device.CPU, command -> {
            throw new IOException("error=11, Resource temporarily unavailable");
        });

        assertThatThrownBy(() -> new RunAttempts(cluster.spark(), job("steps=1", 1, 30), List.of(), launch).run())
                .isInstanceOf(LaunchException.class)
                .hasMessageMatching(
                        "(?s).*the process of a rank can't be started or fed on host \\S+ \\(IOException: error=11, Resource"
                                + " temporarily unavailable\\); look at the disk of spark.local.dir there.*");
    }

    @Test
    void goesOnFromTheNewestCheckpointAfterANativeCrash() throws Exception {
        RunOutcome outcome = run("steps=8,save=2,act=crash,rank=1,at=6", 2, 30);

        assertThat(outcome.attempts()).isEqualTo(2);
        assertThat(steps()).containsExactly(1L, 2L, 3L, 4L, 5L, 5L, 6L, 7L, 8L);
    }

    @Test
    void countsOnlyAttemptsThatAddedNoCheckpoint() throws Exception {
        RunOutcome outcome = run("steps=5,save=1,act=kill,rank=1,after=2,attempts=3", 2, 30);

        assertThat(outcome.attempts()).isEqualTo(4);
        assertThat(steps()).containsExactly(1L, 2L, 3L, 4L, 5L);
    }

    @Test
    void endsAHungAttemptAndNamesTheLateRank() {
        LaunchException failure = failure("steps=9,rank=1,hangAt=3", 1, 2);

        assertThat(failure.kind()).isEqualTo(FailureKind.INFRASTRUCTURE);
        assertThat(failure)
                .hasMessageContaining("no rank has made progress for 2 s (hang_timeout 2 s)")
                .hasMessageMatching("(?s).*rank 1 on host \\S+ is late: phase step, step 2.*")
                .hasMessageContaining(
                        "waiting: rank 0 in exchange number 3 of all ranks; not waiting for others: rank 1");
    }

    @Test
    void startsTheNextAttemptAfterALostExecutor() throws Exception {
        CompletableFuture<RunOutcome> running = inBackground("steps=1000000,laterSteps=6,save=2", 2, 60);
        awaitStep(3);

        ProcessHandle child = LocalCluster.rankProcesses(runId).get(0);
        ProcessHandle executor = child.parent().orElseThrow();
        executor.destroyForcibly();

        RunOutcome outcome = running.get(50, TimeUnit.SECONDS);
        RankEvent.Step last = outcome.lastStep().orElseThrow();
        assertThat(outcome.attempts()).isEqualTo(2);
        assertThat(last.step()).isEqualTo(last.totalSteps());
        // Reports on their way when the executor died are lost, but a checkpoint is at an even step.
        assertThat(last.step() - 6).as("where it went on").isPositive().isEven();
    }

    /** As one whose machine has lost its network: its connections stay open, and nothing comes. */
    @Test
    void endsAnAttemptWhoseExecutorSaysNothingAnyMore() throws Exception {
        CompletableFuture<RunOutcome> running = inBackground("steps=1000000,laterSteps=6,save=2", 1, 60);
        awaitStep(3);
        ProcessHandle executor =
                LocalCluster.rankProcesses(runId).get(0).parent().orElseThrow();

        signal("STOP", executor);
        Thread.sleep(8_000); // it is noticed meanwhile
        executor.destroyForcibly();

        assertThatThrownBy(() -> running.get(30, TimeUnit.SECONDS))
                .cause()
                .isInstanceOf(LaunchException.class)
                .hasMessageContaining("nothing was heard of its task for 6 s (spark.ulysses.driver.lostAfter)");
    }

    private static void signal(String name, ProcessHandle process) throws Exception {
        int code = new ProcessBuilder("kill", "-" + name, Long.toString(process.pid()))
                .inheritIO()
                .start()
                .waitFor();
        assertThat(code).isZero();
    }

    @Test
    @Order(Integer.MAX_VALUE)
    void leavesNoRankWhenTheContextStops() throws Exception {
        CompletableFuture<RunOutcome> running = inBackground("steps=1000000", 3, 60);
        awaitStep(2);

        cluster.spark().stop();

        await(
                "end of all ranks",
                Duration.ofSeconds(10),
                () -> LocalCluster.rankProcesses(runId).isEmpty());
        assertThatThrownBy(() -> running.get(20, TimeUnit.SECONDS))
                .isInstanceOf(ExecutionException.class)
                .hasCauseInstanceOf(LaunchException.class);
    }

    private RunOutcome run(String script, int maxAttempts, int hangSeconds) throws InterruptedException {
        RankJob job = job(script, maxAttempts, hangSeconds);
        return new RunAttempts(cluster.spark(), job, List.of(events::add)).run();
    }

    private RankJob job(String script, int maxAttempts, int hangSeconds) {
        return new RankJob(
                runId,
                StandInRank.class.getName(),
                new RankMesh(2, 2),
                Runs.config(output, Runs.twoRanks(maxAttempts, hangSeconds)),
                script,
                List.of());
    }

    private LaunchException failure(String script, int maxAttempts, int hangSeconds) {
        return catchThrowableOfType(LaunchException.class, () -> run(script, maxAttempts, hangSeconds));
    }

    private CompletableFuture<RunOutcome> inBackground(String script, int maxAttempts, int hangSeconds) {
        return CompletableFuture.supplyAsync(() -> {
            try {
                return run(script, maxAttempts, hangSeconds);
            } catch (InterruptedException e) {
                throw new IllegalStateException(e);
            }
        });
    }

    private void awaitStep(long step) throws InterruptedException {
        await("step " + step, Duration.ofSeconds(40), () -> steps().stream().anyMatch(done -> done >= step));
    }

    private List<Long> steps() {
        return events.stream()
                .filter(RankEvent.Step.class::isInstance)
                .map(event -> ((RankEvent.Step) event).step())
                .toList();
    }
}
