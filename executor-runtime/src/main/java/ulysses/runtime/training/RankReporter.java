package ulysses.runtime.training;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.PrintStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import ulysses.runtime.mesh.RankEvent;

/** Writes events as lines of JSON for whoever started this rank. May be used by several threads. */
final class RankReporter {

    private static final Logger LOG = LoggerFactory.getLogger(RankReporter.class);
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long HEARTBEAT_NANOS = 1_000_000_000L;

    private final int rank;
    private final PrintStream out;
    private String lastPhase = "";
    private long lastPhaseNanos;
    private long step;

    /** For world rank {@code rank}. */
    RankReporter(int rank, PrintStream out) {
        this.rank = rank;
        this.out = out;
    }

    /** World rank. */
    int rank() {
        return rank;
    }

    /** The step of the last phase. */
    synchronized long step() {
        return step;
    }

    /** Says what this rank does now; the same phase again is said at most once a second. Phases between steps are also logged. */
    synchronized void phase(String phase, long step) {
        long now = System.nanoTime();
        this.step = step;
        if (!phase.equals(lastPhase) && !phase.equals(RankEvent.Phase.STEP)) {
            LOG.info("{} at step {}", phase, step);
        }
        if (!phase.equals(lastPhase) || now - lastPhaseNanos >= HEARTBEAT_NANOS) {
            lastPhase = phase;
            lastPhaseNanos = now;
            event(new RankEvent.Phase(rank, phase, step));
        }
    }

    /**
     * Says that the phase goes on, since a part of its work is done: a row of an evaluation, a tensor that was read or written. Must
     * not be called by a thread that waits for other ranks, nor for one: ranks that hang are known by their silence.
     */
    synchronized void progress() {
        phase(lastPhase, step);
    }

    /** Logs how much more layers keep from now on. */
    void activationRoom(long bytes) {
        LOG.info("activation_memory auto: up to {} MiB beside attention's outputs are kept from now on", bytes >> 20);
    }

    /** Writes {@code line} into the log of this rank. */
    void note(String line) {
        LOG.info("{}", line);
    }

    /** Says something the user should read. */
    void warning(String message) {
        event(new RankEvent.Warning(rank, message));
    }

    /** Says {@code event}. */
    synchronized void event(RankEvent event) {
        try {
            out.println(JSON.writerFor(RankEvent.class).writeValueAsString(event));
            out.flush();
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("an event can't be written as JSON: " + event, e);
        }
    }
}
