package ulysses.driver.launch;

import java.io.IOException;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.apache.spark.SparkConf;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import ulysses.runtime.mesh.RankEvent;

/**
 * What the driver knows of all ranks, live: fed by their tasks through {@link ReportServer}, passed on to listeners event by event.
 * Reports of an earlier attempt are dropped, so a zombie can't confuse the next one.
 */
final class RunProgress implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(RunProgress.class);
    /** Opens the report port of the driver in a firewall; 0 takes any free one. */
    private static final String PORT_KEY = "spark.ulysses.driver.port";
    /** How long nothing may be heard of a task. */
    private static final String LOST_KEY = "spark.ulysses.driver.lostAfter";

    private final List<Consumer<RankEvent>> listeners;
    private final Map<Integer, RankStatus> ranks = new TreeMap<>();
    private final Map<Integer, String> stacks = new TreeMap<>();
    private final List<RankFailure> failures = new ArrayList<>();
    /** What ranks said of themselves, by task: their tasks may be ended as peers of a failed one before they can report it. */
    private final Map<Integer, RankFailure> confessions = new TreeMap<>();

    private @Nullable RankFailure lost;
    private int attempt;
    private long beganNanos = System.nanoTime();
    private RankEvent.@Nullable Saved saved;
    private RankEvent.@Nullable Step lastStep;
    private @Nullable ReportServer server;
    private @Nullable RunAddress address;

    private RunProgress(List<Consumer<RankEvent>> listeners) {
        this.listeners = List.copyOf(listeners);
    }

    /** Starts listening where Spark's own driver listens. */
    static RunProgress open(SparkConf conf, List<Consumer<RankEvent>> listeners) throws IOException {
        RunProgress progress = new RunProgress(listeners);
        String host = conf.get("spark.driver.host");
        ReportServer server = ReportServer.open(
                conf.get("spark.driver.bindAddress", host),
                conf.getInt(PORT_KEY, 0),
                Duration.ofSeconds(conf.getTimeAsSeconds(LOST_KEY, "15s")),
                progress::accept);
        progress.server = server;
        progress.address = server.address(host);
        return progress;
    }

    /** What tasks need to report here. */
    RunAddress address() {
        if (address == null) {
            throw new IllegalStateException("progress is not listening");
        }
        return address;
    }

    /** Forgets the ranks of the attempt before. */
    synchronized void begin(int newAttempt) {
        attempt = newAttempt;
        beganNanos = System.nanoTime();
        ranks.clear();
        stacks.clear();
        failures.clear();
        confessions.clear();
        lost = null;
    }

    /** A task of which nothing has been heard for too long, though its connection was never closed. */
    synchronized Optional<RankFailure> lost() {
        return Optional.ofNullable(lost);
    }

    /** What was heard last of each task that has reported in this attempt, in order of tasks. */
    synchronized List<RankStatus> ranks() {
        return List.copyOf(ranks.values());
    }

    /** Failures of this attempt in order of arrival. */
    synchronized List<RankFailure> failures() {
        List<RankFailure> all = new ArrayList<>(failures);
        all.addAll(confessions.values());
        return List.copyOf(all);
    }

    /** Waits until the tasks of an attempt that is over have said all they had to say, for {@code limit} at most. */
    void awaitLastReports(Duration limit) throws InterruptedException {
        long deadline = System.nanoTime() + limit.toNanos();
        while (server != null && server.hasConnections() && System.nanoTime() < deadline) {
            TimeUnit.MILLISECONDS.sleep(10);
        }
    }

    /** The newest complete checkpoint that any attempt has reported. */
    synchronized Optional<RankEvent.Saved> newestSaved() {
        return Optional.ofNullable(saved);
    }

    /** The newest step that any attempt has reported. */
    synchronized Optional<RankEvent.Step> newestStep() {
        return Optional.ofNullable(lastStep);
    }

    /** Time since any rank gave a sign of life, or since the attempt began. */
    synchronized Duration silence() {
        long now = System.nanoTime();
        long newest = ranks.values().stream()
                .mapToLong(RankStatus::heardNanos)
                .map(heard -> heard - beganNanos)
                .max()
                .orElse(0);
        return Duration.ofNanos(now - beganNanos - newest);
    }

    /** The rank that holds up the others: fewest steps, then silent for longest. */
    synchronized Optional<RankStatus> latest() {
        return ranks.values().stream()
                .min(Comparator.comparingLong(RankStatus::step)
                        .thenComparingLong(status -> status.heardNanos() - beganNanos));
    }

    /** Asks for the stacks of all ranks and gives what arrives within {@code limit}, by task. */
    Map<Integer, String> stacks(Duration limit) throws InterruptedException {
        if (server != null) {
            server.askForStacks();
        }
        long deadline = System.nanoTime() + limit.toNanos();
        synchronized (this) {
            stacks.clear();
            while (stacks.size() < ranks.size() && System.nanoTime() < deadline) {
                wait(Math.max(1, (deadline - System.nanoTime()) / 1_000_000));
            }
            return Map.copyOf(stacks);
        }
    }

    @Override
    public void close() {
        if (server != null) {
            server.close();
        }
    }

    private synchronized void accept(RankReport.Hello from, RankReport report) {
        if (from.attempt() != attempt) {
            LOG.debug("late report of attempt {}: {}", from.attempt(), report);
            return;
        }
        if (report instanceof RankReport.Alive) {
            return;
        }
        long now = System.nanoTime();
        RankStatus before = ranks.computeIfAbsent(
                from.partition(),
                partition -> new RankStatus(partition, -1, from.host(), from.executorId(), "start", 0, now));
        if (report instanceof RankReport.Seated seated) {
            ranks.put(from.partition(), before.withRank(seated.rank(), now));
            tellAll(new RankEvent.Placed(seated.rank(), from.host(), seated.device(), attempt));
        } else if (report instanceof RankReport.Happened happened) {
            ranks.put(from.partition(), after(before, happened.event(), now));
            tellAll(happened.event());
        } else if (report instanceof RankReport.Ended ended) {
            failures.add(ended.failure());
            confessions.remove(from.partition());
        } else if (report instanceof RankReport.Stacks dump) {
            stacks.put(from.partition(), dump.text());
            notifyAll();
        } else if (report instanceof RankReport.Silent silent) {
            lost = silent(before, silent.seconds());
        }
    }

    private static RankFailure silent(RankStatus status, long seconds) {
        return RankFailure.executorLost(
                status,
                "nothing was heard of its task for %d s (%s), which says that it is there once a second: its machine has lost the network or power, or executor %s was stopped"
                        .formatted(seconds, LOST_KEY, status.executorId()));
    }

    private RankStatus after(RankStatus before, RankEvent event, long now) {
        if (event instanceof RankEvent.Phase begun) {
            return before.withPhase(begun.phase(), begun.step(), now);
        }
        if (event instanceof RankEvent.Step stepped) {
            lastStep = stepped;
            return before.withPhase(before.phase(), stepped.step(), now);
        }
        if (event instanceof RankEvent.Saved newer) {
            saved = newer;
        }
        if (event instanceof RankEvent.Failed failed
                && FailureKind.named(failed.kind()) != FailureKind.INFRASTRUCTURE) {
            confessions.put(before.partition(), confession(before, failed));
        }
        return before.withPhase(before.phase(), before.step(), now);
    }

    private static RankFailure confession(RankStatus status, RankEvent.Failed failed) {
        return new RankFailure(
                failed.rank(),
                status.host(),
                status.phase(),
                failed.step(),
                FailureKind.named(failed.kind()),
                RankFailure.Cause.REPORTED,
                failed.message(),
                List.of());
    }

    private void tellAll(RankEvent event) {
        listeners.forEach(listener -> tell(listener, event));
    }

    /** A listener's mistake must not end the run. */
    private static void tell(Consumer<RankEvent> listener, RankEvent event) {
        try {
            listener.accept(event);
        } catch (RuntimeException e) {
            LOG.warn("a progress listener failed on {}", event, e);
        }
    }
}
