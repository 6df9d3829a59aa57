package ulysses.driver.launch;

import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import ulysses.runtime.mesh.RankEvent;

/**
 * How one rank ended an attempt.
 *
 * @param rank world rank; -1 when it had none yet
 * @param host its machine
 * @param phase what it was doing
 * @param step optimizer step
 * @param kind decides the exit code
 * @param cause decides whether a new attempt may help, and which of several failures came first
 * @param reason what happened and what to do
 * @param log last lines of its log
 */
public record RankFailure(
        int rank,
        String host,
        String phase,
        long step,
        FailureKind kind,
        Cause cause,
        String reason,
        List<String> log) {

    /** A host that nobody knows. */
    static final String NOWHERE = "unknown";

    /** Roughly: who is to blame. In order of how likely the failure is the first one and not an echo of another rank's. */
    public enum Cause {
        /** The rank said itself that config, data, loss or storage is at fault. */
        REPORTED(false),
        /** Spark lost the executor. */
        EXECUTOR_LOST(true),
        /** The process was ended by a signal. */
        CRASHED(true),
        /** The process ended without a word. */
        EXITED(false),
        /** No rank made progress for too long. */
        HUNG(true),
        /** The rank said that the program is at fault. */
        INTERNAL(true),
        /** A collective failed or timed out: the network, or the echo of a rank that ended. */
        CUT_OFF(true),
        /** The task failed outside of the rank process. */
        TASK(false);

        private final boolean retryable;

        Cause(boolean retryable) {
            this.retryable = retryable;
        }
    }

    public RankFailure {
        log = List.copyOf(log);
    }

    /** That the executor of a task is gone, or can't be heard any more. */
    static RankFailure executorLost(RankStatus last, String reason) {
        return new RankFailure(
                last.rank(),
                last.host(),
                last.phase(),
                last.step(),
                FailureKind.INFRASTRUCTURE,
                Cause.EXECUTOR_LOST,
                reason,
                List.of());
    }

    /** The same with another reason. */
    RankFailure because(String other) {
        return new RankFailure(rank, host, phase, step, kind, cause, other, log);
    }

    /** Whether a new attempt may help. A process that ends without a word before its first step would do so again. */
    boolean retryable() {
        return cause.retryable || (cause == Cause.EXITED && phase.equals(RankEvent.Phase.STEP));
    }

    /** Whether it is a fault of the program that comes back: {@code before} was the same at the same step. */
    boolean repeats(RankFailure before) {
        return cause == Cause.INTERNAL
                && before.cause == Cause.INTERNAL
                && step == before.step
                && reason.equals(before.reason);
    }

    /** Whether its host may be to blame; a broken connection does not tell at which end it broke. */
    boolean speaksAgainstHost() {
        return retryable() && cause != Cause.CUT_OFF && cause != Cause.INTERNAL && !host.equals(NOWHERE);
    }

    /** The failure that most likely came first; {@code failures} are in order of arrival. */
    static Optional<RankFailure> first(List<RankFailure> failures) {
        return failures.stream().min(Comparator.comparing(RankFailure::cause));
    }

    /** For the user: who, where, when, why, and the end of its log. */
    String describe() {
        String who = rank < 0 ? "a rank" : "rank " + rank;
        String head = "%s on host %s failed in phase %s at step %d: %s".formatted(who, host, phase, step, reason);
        if (log.isEmpty()) {
            return cause == Cause.REPORTED ? head : head + "\nit logged nothing";
        }
        return head
                + "\nlast lines of its log:\n"
                + log.stream().map(line -> "  | " + line).collect(Collectors.joining("\n"));
    }
}
