package ulysses.runtime.checkpoint;

import java.time.Duration;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.concurrent.TimeUnit;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.StorageException;

/**
 * The right to train into a folder, held by one driver at a time; lives for the run. {@code lease/holder-N.json} says who holds it, the
 * highest N counts. Taking it creates the next file, which one process alone can do, on S3 by a conditional put; the holder then
 * rewrites its file every few seconds. Whoever wants the lease watches that file: a change means that the holder lives, no change for
 * {@link Timing#expiry} that it is dead. So clocks of machines are never compared. A holder that was taken for dead, and was not,
 * finds a higher file at its next sign of life.
 */
public final class RunLease implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(RunLease.class);
    private static final String LEASES = "lease";
    private static final Pattern FILE = Pattern.compile("holder-(\\d{1,18})\\.json");
    private static final long CLOSE_MILLIS = 10_000;

    private final Folder folder;
    private final Folder leases;
    private final Timing timing;
    private final Runnable whenLost;
    private final long number;
    private final Thread heartbeat;
    private LeaseHolder holder;
    private boolean closed;
    private volatile @Nullable String lost;

    /**
     * How often a holder gives a sign of life, and after how long without one it counts as dead.
     *
     * @param beat between signs of life
     * @param expiry several times that
     */
    record Timing(Duration beat, Duration expiry) {
        /** Chosen, not tuned: a driver's garbage collection and a name node's restart take less than the expiry, mostly. */
        static final Timing USUAL = new Timing(Duration.ofSeconds(5), Duration.ofSeconds(30));

        Duration look() {
            return beat.dividedBy(5);
        }
    }

    private RunLease(Folder folder, LeaseHolder holder, long number, Timing timing, Runnable whenLost) {
        this.folder = folder;
        this.leases = folder.folder(LEASES);
        this.holder = holder;
        this.number = number;
        this.timing = timing;
        this.whenLost = whenLost;
        this.heartbeat = new Thread(this::beat, "lease-heartbeat");
        heartbeat.setDaemon(true);
    }

    /**
     * Takes the lease of {@code folder}. Waits some seconds for a sign of life where there is a holder, and takes over from a dead one.
     *
     * @param whenLost called once, on another thread, should another process take over
     * @throws LeaseException when the lease is held
     */
    public static RunLease take(Folder folder, LeaseHolder me, Runnable whenLost) throws InterruptedException {
        return take(folder, me, Timing.USUAL, whenLost);
    }

    static RunLease take(Folder folder, LeaseHolder me, Timing timing, Runnable whenLost) throws InterruptedException {
        Folder leases = folder.folder(LEASES);
        while (true) {
            OptionalLong newest = newest(leases);
            if (newest.isPresent()) {
                awaitFree(folder, newest.getAsLong(), timing);
            }
            long next = newest.orElse(0) + 1;
            if (leases.createIfAbsent(file(next), me.toJson())) {
                for (long old = next - 1; old > 0 && leases.has(file(old)); old--) {
                    leases.delete(file(old));
                }
                RunLease lease = new RunLease(folder, me, next, timing, whenLost);
                lease.heartbeat.start();
                return lease;
            }
        }
    }

    private static String file(long number) {
        return "holder-" + number + ".json";
    }

    private static OptionalLong newest(Folder leases) {
        return leases.list().stream()
                .map(entry -> FILE.matcher(entry.name()))
                .filter(Matcher::matches)
                .mapToLong(matcher -> Long.parseLong(matcher.group(1)))
                .max();
    }

    /** Returns when the holder {@code number} has released the lease or is dead. */
    private static void awaitFree(Folder folder, long number, Timing timing) throws InterruptedException {
        Folder leases = folder.folder(LEASES);
        @Nullable LeaseHolder seen = null;
        long begin = System.nanoTime();
        while (System.nanoTime() - begin < timing.expiry().toNanos()) {
            Optional<LeaseHolder> now = read(leases, number);
            if (now.isPresent()) {
                if (now.get().released() || now.get().isGone()) {
                    return;
                }
                if (seen != null && !now.get().equals(seen)) {
                    throw held(folder, now.get());
                }
                seen = now.get();
            }
            if (newest(leases).orElse(number) > number) {
                return; // another process took over from the same dead one; the caller looks again
            }
            TimeUnit.NANOSECONDS.sleep(timing.look().toNanos());
        }
        LOG.warn(
                "{} gave no sign of life for {} s: its lease of {} is taken over",
                seen == null ? "the last run" : seen.describe(),
                timing.expiry().toSeconds(),
                folder.path());
    }

    /** Empty when the file is just being replaced, or can't be read now. */
    private static Optional<LeaseHolder> read(Folder leases, long number) {
        try {
            return LeaseHolder.parse(leases.readText(file(number)));
        } catch (StorageException e) {
            LOG.debug("the lease can't be read now", e);
            return Optional.empty();
        }
    }

    private static LeaseException held(Folder folder, LeaseHolder holder) {
        return new LeaseException(
                "%s is being trained into by another run (%s), which holds its lease since %s and is alive; wait until that run ends or stop it, or choose another output_dir"
                        .formatted(folder.path(), holder.describe(), holder.since()));
    }

    private void beat() {
        while (pause()) {
            try {
                long newest = newest(leases).orElse(number);
                if (newest > number) {
                    lose(read(leases, newest));
                    return;
                }
                write(holder.beating());
            } catch (StorageException e) {
                LOG.warn("no sign of life could be left in {}: {}", leases.path(), e.getMessage());
            }
        }
    }

    private void write(LeaseHolder changed) {
        leases.write(file(number), changed.toJson());
        holder = changed;
    }

    private void lose(Optional<LeaseHolder> other) {
        lost =
                "the lease of %s was taken over by another run (%s), since this one gave no sign of life for %d s; that run goes on from the newest checkpoint, so this one ends"
                        .formatted(
                                folder.path(),
                                other.map(LeaseHolder::describe).orElse("unknown"),
                                timing.expiry().toSeconds());
        whenLost.run();
    }

    /** False when the lease is to be given back. */
    private synchronized boolean pause() {
        long end = System.nanoTime() + timing.beat().toNanos();
        try {
            for (long left = timing.beat().toMillis();
                    left > 0 && !closed;
                    left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime())) {
                wait(left);
            }
            return !closed;
        } catch (InterruptedException e) {
            return false;
        }
    }

    /** Throws {@link LeaseException} when another process has taken over. */
    public void requireHeld() {
        String reason = lost;
        if (reason != null) {
            throw new LeaseException(reason);
        }
    }

    /** Gives the lease back. A second call does nothing. */
    @Override
    public void close() {
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
            notifyAll();
        }
        try {
            heartbeat.join(CLOSE_MILLIS);
            if (lost == null) {
                write(holder.releasing());
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        } catch (StorageException e) {
            LOG.warn("the lease could not be given back, it expires by itself: {}", e.getMessage());
        }
    }
}
