package ulysses.driver.plan;

import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * Bytes of one rank, the busiest of its group, line by line. What it counts is what the runtime does today: parameters, gradients and
 * optimizer states are whole on every rank, or cut as {@code zero_stage} says; of a layer its input is kept, and what {@code
 * activation_memory} says; backward runs the
 * rest again (numerics.md, section 2). Letters as in the style guide: s and S tokens of the rank and of the group, n and k its heads.
 *
 * @param lines in order of their moments
 */
public record MemoryEstimate(List<Line> lines) {

    /** When something is held. */
    public enum Moment {
        /** From the start of the process. */
        PROCESS,
        /** During the whole run. */
        RUN,
        /** From a micro-batch's forward to its backward. */
        MICRO_BATCH,
        /** While the loss is computed, on top of the micro-batch. */
        LOSS,
        /** In the backward of a layer's MLP, on top of the micro-batch. */
        MLP_BACKWARD,
        /** In the backward of a layer's attention, on top of the micro-batch. */
        ATTENTION_BACKWARD,
        /** While gradients of q, k and v are exchanged, on top of the micro-batch. */
        EXCHANGE
    }

    /** Moments of which only one comes at a time, on top of a micro-batch. */
    public static final List<Moment> IN_TURN =
            List.of(Moment.LOSS, Moment.MLP_BACKWARD, Moment.ATTENTION_BACKWARD, Moment.EXCHANGE);

    /**
     * One summand.
     *
     * @param moment when it is held
     * @param name what it is
     * @param bytes how much
     * @param how shape and type
     */
    public record Line(Moment moment, String name, long bytes, String how) {}

    public MemoryEstimate {
        lines = List.copyOf(lines);
    }

    /** Of a rank of {@code shape} on {@code hardware}. */
    public static MemoryEstimate of(RunShape shape, HardwareProfile hardware) {
        List<Line> lines = new ArrayList<>();
        lines.add(new Line(
                Moment.PROCESS,
                hardware.isCpu() ? "process" : "CUDA context",
                hardware.reservedBytes(),
                hardware.isCpu() ? "JVM and libraries, of hardware.yaml" : "and workspaces, of hardware.yaml"));
        new StateMemory(shape).addTo(lines);
        MicroBatchMemory microBatch = new MicroBatchMemory(shape);
        microBatch.addTo(lines);
        microBatch.addHeldByLibrary(lines);
        return new MemoryEstimate(lines);
    }

    /** Bytes held at {@code moment}, without what is held longer. */
    public long bytes(Moment moment) {
        return byMoment().getOrDefault(moment, 0L);
    }

    private Map<Moment, Long> byMoment() {
        Map<Moment, Long> sums = new EnumMap<>(Moment.class);
        lines.forEach(line -> sums.merge(line.moment(), line.bytes(), Long::sum));
        return sums;
    }

    /** What is always there: a lower bound that no length of rows changes. */
    public long permanent() {
        return bytes(Moment.PROCESS) + bytes(Moment.RUN);
    }

    /** The moment when most is held. */
    public Moment dearest() {
        Moment dearest = Moment.LOSS;
        for (Moment moment : IN_TURN) {
            dearest = bytes(moment) > bytes(dearest) ? moment : dearest;
        }
        return dearest;
    }

    /** Most bytes that are held at once. */
    public long peak() {
        return permanent() + bytes(Moment.MICRO_BATCH) + bytes(dearest());
    }
}
