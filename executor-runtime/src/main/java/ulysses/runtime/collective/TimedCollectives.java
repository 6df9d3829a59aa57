package ulysses.runtime.collective;

import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;

/** A group whose operations, and the waits for them, are recorded on a {@link Timeline}. */
final class TimedCollectives implements Collectives {
    private final Collectives group;
    private final Timeline timeline;

    TimedCollectives(Collectives group, Timeline timeline) {
        this.group = group;
        this.timeline = timeline;
    }

    @Override
    public int rank() {
        return group.rank();
    }

    @Override
    public int size() {
        return group.size();
    }

    @Override
    public String name() {
        return group.name();
    }

    @Override
    public Traffic traffic() {
        return group.traffic();
    }

    @Override
    public Pending allToAll(Tensor out, Tensor in, long[] outSplits, long[] inSplits) {
        return timed(Operation.ALL_TO_ALL, () -> group.allToAll(out, in, outSplits, inSplits));
    }

    @Override
    public Pending allReduceSum(Tensor tensor) {
        return timed(Operation.ALL_REDUCE, () -> group.allReduceSum(tensor));
    }

    @Override
    public Pending allReduceMax(Tensor tensor) {
        return timed(Operation.ALL_REDUCE, () -> group.allReduceMax(tensor));
    }

    @Override
    public Pending reduceScatterSum(Tensor out, Tensor in) {
        return timed(Operation.REDUCE_SCATTER, () -> group.reduceScatterSum(out, in));
    }

    @Override
    public Pending allGather(Tensor out, Tensor in) {
        return timed(Operation.ALL_GATHER, () -> group.allGather(out, in));
    }

    @Override
    public Pending broadcast(Tensor tensor, int root) {
        return timed(Operation.BROADCAST, () -> group.broadcast(tensor, root));
    }

    @Override
    public void barrier() {
        try (Timeline.Span wait = timeline.span("wait for " + Operation.BARRIER)) {
            group.barrier();
        }
    }

    private Pending timed(Operation operation, Supplier<Pending> start) {
        if (!timeline.isRecording()) {
            return start.get();
        }
        long bytes = traffic().total(operation);
        long begin = System.nanoTime();
        Pending pending = start.get();
        return new Timed(pending, operation, traffic().total(operation) - bytes, begin);
    }

    /** Ends with the first wait for it. */
    private final class Timed implements Pending {
        private final Pending pending;
        private final Operation operation;
        private final long bytes;
        private final long begin;
        private boolean awaited;

        Timed(Pending pending, Operation operation, long bytes, long begin) {
            this.pending = pending;
            this.operation = operation;
            this.bytes = bytes;
            this.begin = begin;
        }

        @Override
        public Tensor await() {
            if (awaited) {
                return pending.await();
            }
            awaited = true;
            try (Timeline.Span wait = timeline.span("wait for " + operation)) {
                return pending.await();
            } finally {
                timeline.operation(operation.toString(), name(), bytes, begin);
            }
        }

        @Override
        public void close() {
            if (!awaited) {
                await();
            }
            pending.close();
        }
    }
}
