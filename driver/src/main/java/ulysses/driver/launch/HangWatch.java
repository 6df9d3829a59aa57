package ulysses.driver.launch;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Ends an attempt that has lost a task, or makes no progress. Ranks step together, so one that hangs silences all: the watch waits for
 * silence of all, shows what every rank is doing, and blames the one that is furthest behind.
 */
final class HangWatch implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(HangWatch.class);
    /** How a thread that waits for other ranks is called; see {@code collective.InFlight}. */
    private static final Pattern WAITS = Pattern.compile("^\"[^\"]* waits in ([^\"]+)\"", Pattern.MULTILINE);

    private static final Duration STACKS_LIMIT = Duration.ofSeconds(5);

    private final RunProgress progress;
    private final int ranks;
    private final Duration hang;
    private final Duration rendezvous;
    private final Consumer<String> end;
    private final Thread thread;
    private final long startNanos = System.nanoTime();
    private volatile @Nullable RankFailure verdict;

    private HangWatch(RunProgress progress, int ranks, Duration hang, Duration rendezvous, Consumer<String> end) {
        this.progress = progress;
        this.ranks = ranks;
        this.hang = hang;
        this.rendezvous = rendezvous;
        this.end = end;
        this.thread = new Thread(this::watch, "hang-watch");
        thread.setDaemon(true);
    }

    /**
     * Watches from now on.
     *
     * @param ranks how many must report
     * @param hang the longest that no rank may make progress
     * @param rendezvous the longest until all tasks have reported
     * @param end called once with the reason; must make the attempt end
     */
    static HangWatch start(RunProgress progress, int ranks, Duration hang, Duration rendezvous, Consumer<String> end) {
        HangWatch watch = new HangWatch(progress, ranks, hang, rendezvous, end);
        watch.thread.start();
        return watch;
    }

    /** Why this watch has ended the attempt, if it has. */
    Optional<RankFailure> verdict() {
        return Optional.ofNullable(verdict);
    }

    @Override
    public void close() {
        thread.interrupt();
        try {
            thread.join();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private void watch() {
        long pause = Math.max(50, Math.min(1_000, hang.toMillis() / 10));
        try {
            while (verdict == null) {
                TimeUnit.MILLISECONDS.sleep(pause);
                Optional<RankFailure> lost = progress.lost();
                if (lost.isPresent()) {
                    verdict = lost.get();
                    end.accept(lost.get().reason());
                    return;
                }
                Optional<RankFailure> found = tooFewMet().or(this::silent);
                if (found.isPresent()) {
                    RankFailure late = found.get().because(found.get().reason() + whoWaits(showStacks()));
                    verdict = late;
                    end.accept(late.reason());
                }
            }
        } catch (InterruptedException e) {
            LOG.debug("the attempt is over");
        }
    }

    private Optional<RankFailure> tooFewMet() {
        List<RankStatus> met = progress.ranks();
        if (met.size() >= ranks || System.nanoTime() - startNanos < rendezvous.toNanos()) {
            return Optional.empty();
        }
        String reason =
                "only %d of %d tasks have reported within rendezvous_timeout %d s; are there enough executors, and can they reach the driver's port? (heard of: %s)"
                        .formatted(met.size(), ranks, rendezvous.toSeconds(), met);
        return Optional.of(failure(-1, RankFailure.NOWHERE, "start", 0, reason));
    }

    private Optional<RankFailure> silent() {
        Duration silence = progress.silence();
        Optional<RankStatus> late = progress.latest();
        if (silence.compareTo(hang) < 0 || late.isEmpty()) {
            return Optional.empty();
        }
        RankStatus rank = late.get();
        String reason =
                "no rank has made progress for %d s (hang_timeout %d s); %s on host %s is late: phase %s, step %d; the stacks of all ranks stand in the driver's log"
                        .formatted(
                                silence.toSeconds(),
                                hang.toSeconds(),
                                rank.name(),
                                rank.host(),
                                rank.phase(),
                                rank.step());
        return Optional.of(failure(rank.rank(), rank.host(), rank.phase(), rank.step(), reason));
    }

    private static RankFailure failure(int rank, String host, String phase, long step, String reason) {
        return new RankFailure(
                rank, host, phase, step, FailureKind.INFRASTRUCTURE, RankFailure.Cause.HUNG, reason, List.of());
    }

    /** Which ranks wait for others, in what; what the others do stands in their stacks. */
    private String whoWaits(Map<Integer, String> stacks) {
        List<String> waiting = new ArrayList<>();
        List<String> others = new ArrayList<>();
        for (RankStatus rank : progress.ranks()) {
            Matcher waits = WAITS.matcher(stacks.getOrDefault(rank.partition(), ""));
            if (waits.find()) {
                waiting.add("%s in %s".formatted(rank.name(), waits.group(1)));
            } else {
                others.add(rank.name());
            }
        }
        if (waiting.isEmpty()) {
            return "";
        }
        String rest = others.isEmpty() ? "" : "; not waiting for others: " + String.join(", ", others);
        return "; waiting: " + String.join(", ", waiting) + rest;
    }

    private Map<Integer, String> showStacks() throws InterruptedException {
        Map<Integer, String> stacks = progress.stacks(STACKS_LIMIT);
        progress.ranks()
                .forEach(status -> LOG.warn(
                        "[{}] on {}, phase {}, step {}:\n{}",
                        status.name(),
                        status.host(),
                        status.phase(),
                        status.step(),
                        stacks.getOrDefault(status.partition(), "(no answer)")));
        return stacks;
    }
}
