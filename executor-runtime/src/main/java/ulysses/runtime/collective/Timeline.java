package ulysses.runtime.collective;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * What one rank did when, as a trace that Chrome's and Perfetto's viewers show: phases and waits on a track of the thread that
 * steps, checkpoints on a track of the thread that writes them, and operations between ranks from their begin until their result may
 * be read, which may overlap. Where it does not record, a span costs a look at a field. Times are the host's: on CUDA work is queued,
 * and what a phase queued may run after it. May be used by several threads.
 */
public final class Timeline {
    /** Never records. */
    public static final Timeline OFF = new Timeline();

    private static final Span NOTHING = () -> {};
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long NANOS_A_MICRO = 1_000;

    /** Threads of a rank. */
    public enum Track {
        /** The one that steps. */
        STEP(0, "steps"),
        /** The one that writes checkpoints. */
        WRITER(1, "checkpoint writer");

        private final int number;
        private final String label;

        Track(int number, String label) {
            this.number = number;
            this.label = label;
        }
    }

    /** From its creation until it is closed. */
    @FunctionalInterface
    public interface Span extends AutoCloseable {
        @Override
        void close();
    }

    /** Begins spans of one thread. */
    @FunctionalInterface
    public interface Spans {
        /** Begins one. */
        Span begin(String name);
    }

    private record Phase(Track track, String name, long begin, long end) {}

    private record Operation(String name, String group, long bytes, long begin, long end) {}

    private final long epochNanos = System.currentTimeMillis() * 1_000_000 - System.nanoTime();
    private final List<Phase> phases = new ArrayList<>();
    private final List<Operation> operations = new ArrayList<>();
    private volatile boolean recording;

    /** Records between {@link #start} and {@link #stop}. */
    public Timeline() {}

    /** Begins anew. Never called on {@link #OFF}. */
    public synchronized void start() {
        phases.clear();
        operations.clear();
        recording = true;
    }

    /** Begins no more spans; those that were begun are recorded when they end. */
    public void stop() {
        recording = false;
    }

    /** Whether spans are recorded now. */
    public boolean isRecording() {
        return recording;
    }

    /** How many spans have ended so far. */
    public synchronized int size() {
        return phases.size() + operations.size();
    }

    /** A phase of the thread that steps; spans of one thread lie in each other or apart. */
    public Span span(String name) {
        return recording ? begin(Track.STEP, name) : NOTHING;
    }

    /** Spans of another thread: recorded if this is called while it records, though they may begin and end later. */
    public Spans spans(Track track) {
        return recording ? name -> begin(track, name) : name -> NOTHING;
    }

    private Span begin(Track track, String name) {
        long begin = System.nanoTime();
        return () -> add(new Phase(track, name, begin, System.nanoTime()));
    }

    private synchronized void add(Phase phase) {
        phases.add(phase);
    }

    /** An operation over {@code group} that began at {@code beginNanos}, by {@link System#nanoTime}, and is over now. */
    synchronized void operation(String name, String group, long bytes, long beginNanos) {
        operations.add(new Operation(name, group, bytes, beginNanos, System.nanoTime()));
    }

    /** The operations of {@code group} are recorded here, too. */
    Collectives over(Collectives group) {
        return this == OFF ? group : new TimedCollectives(group, this);
    }

    /**
     * All that was recorded, in Chrome's JSON trace format. Times are microseconds since 1970 by this host's clock.
     *
     * @param rank becomes the process, so that the traces of several ranks fit into one file
     * @param host its machine
     */
    public synchronized byte[] toJson(int rank, String host) {
        ObjectNode trace = JSON.createObjectNode().put("displayTimeUnit", "ms");
        ArrayNode events = trace.putArray("traceEvents");
        name(events, "process_name", rank, 0, "rank %d on %s".formatted(rank, host));
        event(events, "M", "process_sort_index", rank, 0).putObject("args").put("sort_index", rank);
        for (Track track : Track.values()) {
            name(events, "thread_name", rank, track.number, track.label);
        }
        for (Phase phase : phases) {
            event(events, "X", phase.name(), rank, phase.track().number)
                    .put("cat", "phase")
                    .put("ts", micros(phase.begin()))
                    .put("dur", micros(phase.end()) - micros(phase.begin()));
        }
        for (int id = 0; id < operations.size(); id++) {
            Operation operation = operations.get(id);
            half(events, "b", id, operation, rank)
                    .put("ts", micros(operation.begin()))
                    .putObject("args")
                    .put("group", operation.group())
                    .put("bytes", operation.bytes());
            half(events, "e", id, operation, rank).put("ts", micros(operation.end()));
        }
        try {
            return (JSON.writeValueAsString(trace) + "\n").getBytes(StandardCharsets.UTF_8);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a trace can't be written as JSON", e);
        }
    }

    private static ObjectNode half(ArrayNode events, String kind, int id, Operation operation, int rank) {
        ObjectNode event = event(events, kind, operation.name(), rank, 0).put("cat", "operation");
        event.putObject("id2").put("local", "0x%x".formatted(id)); // of this process only
        return event;
    }

    private static void name(ArrayNode events, String what, int rank, int track, String name) {
        event(events, "M", what, rank, track).putObject("args").put("name", name);
    }

    private static ObjectNode event(ArrayNode events, String kind, String name, int rank, int track) {
        return events.addObject()
                .put("ph", kind)
                .put("name", name)
                .put("pid", rank)
                .put("tid", track);
    }

    /** Whole ones, so that no viewer rounds them and spans stay inside of each other. */
    private long micros(long nanos) {
        return (epochNanos + nanos) / NANOS_A_MICRO;
    }
}
