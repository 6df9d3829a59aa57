package ulysses.driver.launch;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.apache.spark.api.java.JavaSparkContext;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import ulysses.driver.launch.AttemptTasks.LostTask;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.mesh.RankEvent;

/**
 * The whole training run on the driver: one barrier job per attempt. A lost machine, a crashed rank or a broken network leads to the
 * next attempt, which starts from the newest complete checkpoint; a new one gives all attempts again.
 */
public final class RunAttempts {
    private static final Logger LOG = LoggerFactory.getLogger(RunAttempts.class);
    private static final Duration ZOMBIE_LIMIT = Duration.ofSeconds(60);
    private static final Duration LAST_REPORTS = Duration.ofSeconds(2);

    private final JavaSparkContext spark;
    private final RankJob job;
    private final List<Consumer<RankEvent>> listeners;
    private final BarrierLaunch launch;
    private final ParallelConfig parallel;
    private final HostFailures hosts;

    /** @param listeners told each event of each rank, one at a time, on a thread of the run */
    public RunAttempts(JavaSparkContext spark, RankJob job, List<Consumer<RankEvent>> listeners) {
        this(
                spark,
                job,
                listeners,
                new BarrierLaunch(spark, job.config().parallel().device()));
    }

    /** The same with attempts that {@code launch} starts. */
    RunAttempts(JavaSparkContext spark, RankJob job, List<Consumer<RankEvent>> listeners, BarrierLaunch launch) {
        this.spark = spark;
        this.job = job;
        this.listeners = List.copyOf(listeners);
        this.parallel = job.config().parallel();
        this.hosts = new HostFailures(parallel.maxHostFailures());
        this.launch = launch;
    }

    /**
     * Blocks until the run is done.
     *
     * @throws LaunchException when it can't be: the message tells rank, host, step, reason and the end of its log
     */
    public RunOutcome run() throws InterruptedException {
        long begin = System.nanoTime();
        try (RunProgress progress = RunProgress.open(spark.getConf(), listeners)) {
            int attempts = untilDone(progress);
            return new RunOutcome(
                    attempts,
                    progress.newestStep(),
                    progress.newestSaved(),
                    Duration.ofNanos(System.nanoTime() - begin));
        } catch (IOException e) {
            throw new LaunchException(
                    FailureKind.INFRASTRUCTURE,
                    "the driver can't listen for reports of ranks (%s); choose another spark.ulysses.driver.port"
                            .formatted(e.getMessage()),
                    e);
        }
    }

    private int untilDone(RunProgress progress) throws InterruptedException {
        RankJob now = job;
        int failed = 0; // since the newest checkpoint
        long savedStep = -1;
        Optional<RankFailure> before = Optional.empty();
        for (int attempt = 1; ; attempt++) {
            Optional<RankFailure> failure = attempt(now, attempt, progress);
            if (failure.isEmpty()) {
                return attempt;
            }
            long newest = progress.newestSaved().map(RankEvent.Saved::step).orElse(-1L);
            failed = newest > savedStep ? 1 : failed + 1;
            savedStep = newest;
            String text = "attempt %d: %s".formatted(attempt, failure.get().describe());
            if (before.filter(failure.get()::repeats).isPresent()) {
                throw new LaunchException(
                        failure.get().kind(),
                        text + "\ngiving up: the attempt before it failed alike at the same step");
            }
            before = failure;
            if (!failure.get().retryable()) {
                throw new LaunchException(failure.get().kind(), text);
            }
            if (failed >= parallel.maxAttempts()) {
                throw new LaunchException(
                        failure.get().kind(),
                        "%s\ngiving up: %d attempts failed since the newest checkpoint, %s (max_attempts %d); the same command goes on from there"
                                .formatted(text, failed, from(progress), parallel.maxAttempts()));
            }
            LOG.warn("{}", text);
            blameHost(failure.get(), progress);
            LOG.warn("starting attempt {} from {}", attempt + 1, from(progress));
            now = awaitSlots();
        }
    }

    private void blameHost(RankFailure failure, RunProgress progress) {
        if (failure.speaksAgainstHost()) {
            String host = progress.ranks().stream()
                    .filter(known -> known.rank() >= 0 && known.rank() == failure.rank())
                    .map(RankStatus::host) // as Spark names it
                    .findFirst()
                    .orElse(failure.host());
            hosts.add(host, failure).ifPresent(LOG::warn);
        }
    }

    /** Empty when all ranks were done; without the hosts that failed repeatedly, if that can be. */
    private Optional<RankFailure> attempt(RankJob now, int attempt, RunProgress progress) throws InterruptedException {
        try {
            return inSeats(now, attempt, progress);
        } catch (TooFewSeatsException tooFew) {
            return attempt(fitting(now, tooFew), attempt, progress);
        }
    }

    private RankJob fitting(RankJob now, TooFewSeatsException found) {
        if (launch.slots() > found.tasks()) {
            return now; // some came meanwhile, and a stage over all of them may find enough
        }
        Optional<RankJob> fewer = parallel.elastic() ? job.on(found.seats()) : Optional.empty();
        if (fewer.isEmpty()) {
            LOG.warn(
                    "going on with all hosts: without {} only {} slots are left for {} ranks; add executors on other hosts{}",
                    String.join(", ", hosts.leftOut()),
                    found.seats(),
                    now.mesh().worldSize(),
                    parallel.elastic() ? "" : ", or set elastic: true to go on with fewer ranks");
            hosts.needAll();
            return now;
        }
        tellSmaller(found.seats(), fewer.get());
        return fewer.get();
    }

    private Optional<RankFailure> inSeats(RankJob now, int attempt, RunProgress progress)
            throws InterruptedException, TooFewSeatsException {
        String group = BarrierLaunch.jobGroup(now, attempt);
        String description = "train, attempt %d, %d ranks, from %s"
                .formatted(attempt, now.mesh().worldSize(), from(progress));
        AttemptTasks tasks = new AttemptTasks(group);
        spark.sc().addSparkListener(tasks);
        progress.begin(attempt);
        try (HangWatch watch = watch(now, progress, group)) {
            try {
                launch.run(now, new Attempt(attempt, progress.address(), hosts.leftOut()), description);
                return Optional.empty();
            } catch (InterruptedException e) {
                spark.sc().cancelJobGroup(group, "the driver was interrupted");
                throw e;
            } catch (TooFewSeatsException e) {
                throw e;
            } catch (Exception e) { // SparkException is checked but not declared
                if (!spark.sc().isStopped() && !tasks.awaitEnd(ZOMBIE_LIMIT)) {
                    LOG.warn("some tasks of attempt {} still run after {} s", attempt, ZOMBIE_LIMIT.toSeconds());
                }
                progress.awaitLastReports(LAST_REPORTS);
                return Optional.of(firstFailure(progress, tasks, watch, e));
            }
        } finally {
            if (!spark.sc().isStopped()) {
                spark.sc().removeSparkListener(tasks);
            }
        }
    }

    private HangWatch watch(RankJob now, RunProgress progress, String group) {
        return HangWatch.start(
                progress,
                now.mesh().worldSize(),
                Duration.ofSeconds(parallel.hangSeconds()),
                Duration.ofSeconds(parallel.rendezvousSeconds()),
                reason -> spark.sc().cancelJobGroup(group, reason));
    }

    private static RankFailure firstFailure(
            RunProgress progress, AttemptTasks tasks, HangWatch watch, Exception sparks) {
        List<RankFailure> failures = new ArrayList<>(progress.failures());
        watch.verdict().ifPresent(failures::add);
        tasks.lost().forEach(lost -> failures.add(lost(progress, lost)));
        return RankFailure.first(failures).orElseGet(() -> taskFailure(sparks));
    }

    private static RankFailure lost(RunProgress progress, LostTask task) {
        RankStatus status = progress.ranks().stream()
                .filter(known -> known.partition() == task.partition())
                .findFirst()
                .orElse(new RankStatus(task.partition(), -1, task.host(), task.executorId(), "start", 0, 0));
        return RankFailure.executorLost(
                status,
                "Spark lost executor %s: %s"
                        .formatted(task.executorId(), task.reason().strip()));
    }

    private static RankFailure taskFailure(Exception sparks) {
        String text = String.valueOf(sparks.getMessage());
        return new RankFailure(
                -1,
                RankFailure.NOWHERE,
                "start",
                0,
                FailureKind.INFRASTRUCTURE,
                RankFailure.Cause.TASK,
                "Spark ended the stage: " + text,
                List.of());
    }

    private static String from(RunProgress progress) {
        return progress.newestSaved().map(saved -> "step " + saved.step()).orElse("where the run began");
    }

    /**
     * The run that fits the slots there are, all of it as a rule. Spark's own check for slots waits 15 s between looks; this one
     * notices a replaced executor at once.
     */
    private RankJob awaitSlots() throws InterruptedException {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(parallel.rendezvousSeconds());
        while (launch.slots() < job.mesh().worldSize()) {
            if (System.nanoTime() > deadline) {
                return smaller(launch.slots());
            }
            TimeUnit.MILLISECONDS.sleep(100);
        }
        return job;
    }

    private RankJob smaller(int slots) {
        Optional<RankJob> fewer = parallel.elastic() ? job.on(slots) : Optional.empty();
        RankJob fitting = fewer.orElseThrow(() -> new LaunchException(
                FailureKind.INFRASTRUCTURE,
                "only %d of %d slots came back within rendezvous_timeout %d s; run the same command again when the cluster has room%s"
                        .formatted(
                                slots,
                                job.mesh().worldSize(),
                                parallel.rendezvousSeconds(),
                                parallel.elastic() || slots < parallel.sequenceParallelSize()
                                        ? ""
                                        : ", or with elastic: true")));
        tellSmaller(slots, fitting);
        return fitting;
    }

    private void tellSmaller(int slots, RankJob fitting) {
        LOG.warn(
                "elastic: {} of {} slots are there; going on with {} data-parallel groups, gradient_accumulation_steps {}, so that a step has the same rows",
                slots,
                job.mesh().worldSize(),
                fitting.mesh().dataParallelSize(),
                fitting.config().step().accumulation());
    }
}
