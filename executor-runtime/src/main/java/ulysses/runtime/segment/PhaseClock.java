package ulysses.runtime.segment;

import java.util.Collections;
import java.util.EnumMap;
import java.util.Map;

/**
 * Adds up how long the parts of forward and backward take on the one thread that computes. On CUDA, where work is queued, a part ends
 * when it is queued, so only what waits for others says something there.
 */
public final class PhaseClock {

    /** A part of forward and backward. */
    public enum Phase {
        /** Norm, q, k and v with their rotation. */
        PROJECTIONS,
        /** All-to-alls of a sequence-parallel group, copies round them included. */
        EXCHANGE,
        /** Scores and values of this rank's heads. */
        ATTENTION,
        /** Output projection, norm and MLP. */
        MLP,
        /** Head and loss. */
        LOSS
    }

    /** Ends the part that {@link #start} began. */
    public interface Span extends AutoCloseable {
        @Override
        void close();
    }

    private final Map<Phase, Long> nanos = new EnumMap<>(Phase.class);

    /** Begins a part; parts do not lie inside each other. */
    public Span start(Phase phase) {
        long begin = System.nanoTime();
        return () -> nanos.merge(phase, System.nanoTime() - begin, Long::sum);
    }

    /** Seconds of each part since the last call; parts that did not occur are missing. */
    public Map<Phase, Double> take() {
        Map<Phase, Double> seconds = new EnumMap<>(Phase.class);
        nanos.forEach((phase, time) -> seconds.put(phase, time / 1e9));
        nanos.clear();
        return Collections.unmodifiableMap(seconds);
    }
}
