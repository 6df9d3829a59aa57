package ulysses.runtime.collective;

import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import ulysses.runtime.collective.Collectives.Operation;

/**
 * Counts of one group on one rank, in bytes of payload as handed to the network library. Two numbers a kind of operation: what
 * leaves this rank for others ({@link #sent}) and what the operation works on, the own part included ({@link #total}, the size in
 * the formulas of DeepSpeed-Ulysses, arXiv:2309.14509, section 3.2).
 *
 * <p>With P ranks: all-to-all sends everything but the own part; all-gather sends its input P - 1 times and reduce-scatter
 * (P - 1) / P of its input; all-reduce is a reduce-scatter and an all-gather; broadcast counts its tensor P - 1 times at the root
 * and nothing elsewhere; barrier counts nothing. A library may route differently (trees, rings); these are the sums that no
 * algorithm goes below.
 */
public final class Traffic {
    private record Counts(long sent, long total, long calls) {
        Counts plus(Counts other) {
            return new Counts(sent + other.sent, total + other.total, calls + other.calls);
        }
    }

    private static final Counts NONE = new Counts(0, 0, 0);

    private final Map<Operation, Counts> counts = new ConcurrentHashMap<>();
    private final AtomicLong waitedNanos = new AtomicLong();

    Traffic() {}

    /** Bytes that left this rank for other ranks. */
    public long sent(Operation operation) {
        return of(operation).sent;
    }

    /** Bytes of the inputs, the part that stays on this rank included. */
    public long total(Operation operation) {
        return of(operation).total;
    }

    /** How often this rank began the operation. */
    public long calls(Operation operation) {
        return of(operation).calls;
    }

    /** Seconds that this rank's threads waited for results; on CUDA the device waits, which is not counted. */
    public double waitedSeconds() {
        return waitedNanos.get() / 1e9;
    }

    void addWait(long nanos) {
        waitedNanos.addAndGet(nanos);
    }

    void add(Operation operation, long sentBytes, long totalBytes) {
        counts.merge(operation, new Counts(sentBytes, totalBytes, 1), Counts::plus);
    }

    private Counts of(Operation operation) {
        return counts.getOrDefault(operation, NONE);
    }
}
