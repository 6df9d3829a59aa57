package ulysses.runtime.collective;

import java.time.Duration;
import java.util.List;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.Work;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.collective.BackendCollectives.Group;
import ulysses.runtime.collective.BackendCollectives.Library;
import ulysses.runtime.collective.Collectives.Operation;
import ulysses.runtime.collective.Collectives.Pending;
import ulysses.runtime.memory.TensorScope;

/** Lives from the start of one operation until it is awaited; holds handles of its buffers, so that scopes can't free them. */
final class InFlight implements Pending {
    /** A wait longer than this part of the timeout is written into the attendance list. */
    private static final int SLICES = 4;

    /**
     * What is said about an operation when it fails.
     *
     * @param sequence number of the operation within the group, the same on all ranks
     */
    record Call(
            Operation operation,
            long sequence,
            long bytes,
            Group group,
            Library library,
            Attendance attendance,
            Traffic traffic) {}

    private final Call call;
    private final Work work;
    private final Tensor result;
    private final Tensor[] handles;
    private boolean done;
    private @Nullable CollectiveException failure;

    /** Takes over {@code work}; {@code buffers[0]} is the result. */
    InFlight(Call call, Work work, Tensor... buffers) {
        this.call = call;
        this.work = work;
        this.result = buffers[0];
        this.handles = new Tensor[buffers.length];
        for (int i = 0; i < buffers.length; i++) {
            handles[i] = TensorScope.own(new Tensor(buffers[i]));
        }
    }

    @Override
    public Tensor await() {
        if (!done) {
            done = true;
            try (TensorScope scope = TensorScope.open()) {
                waitForWork();
            } finally {
                work.close();
                for (Tensor handle : handles) {
                    handle.close();
                }
            }
        }
        if (failure != null) {
            throw new CollectiveException(String.valueOf(failure.getMessage()), failure);
        }
        return result;
    }

    @Override
    public void close() {
        if (!done) {
            await();
        }
    }

    private void waitForWork() {
        long start = System.nanoTime();
        try {
            if (call.library() == Library.NCCL) {
                work._wait();
            } else {
                waitOnHost();
            }
        } catch (RuntimeException e) {
            failure = failure(call, Duration.ofNanos(System.nanoTime() - start), e);
            throw failure;
        } finally {
            call.traffic().addWait(System.nanoTime() - start);
        }
    }

    /** The thread's name tells whoever looks at its stack what it waits for; the hang watch does. */
    private void waitOnHost() {
        Thread thread = Thread.currentThread();
        String name = thread.getName();
        thread.setName("%s waits in %s number %d of %s"
                .formatted(name, call.operation(), call.sequence(), call.group().name()));
        try {
            waitInSlices();
        } finally {
            thread.setName(name);
        }
    }

    private void waitInSlices() {
        long slice = Math.max(1, call.group().timeout().toMillis() / SLICES);
        for (int i = 1; i < SLICES; i++) {
            try {
                work._wait(new Milliseconds(slice));
                return;
            } catch (RuntimeException e) {
                if (!isTimeoutOfWait(e)) {
                    throw e;
                }
                call.attendance().report(call.sequence());
            }
        }
        work._wait(new Milliseconds(slice));
    }

    /** Of the wait, not of the operation: c10d::Work::wait says this, Gloo's own timeouts read "Timed out waiting". */
    private static boolean isTimeoutOfWait(RuntimeException e) {
        return String.valueOf(e.getMessage()).startsWith("Operation timed out!");
    }

    static CollectiveException failure(Call call, Duration waited, RuntimeException cause) {
        Group group = call.group();
        boolean timedOut =
                waited.compareTo(group.timeout().multipliedBy(SLICES - 1).dividedBy(SLICES)) > 0;
        return new CollectiveException(
                "%s number %d in %s failed on its rank %d (world rank %d): %s after %.1f s of at most %d s, %d bytes. %s"
                        .formatted(
                                call.operation(),
                                call.sequence(),
                                group.name(),
                                group.rank(),
                                group.worldRanks().get(group.rank()),
                                CollectiveException.firstLine(cause),
                                waited.toMillis() / 1e3,
                                group.timeout().toSeconds(),
                                call.bytes(),
                                timedOut ? lateRanks(call) : lostRank(group)),
                cause);
    }

    private static String lateRanks(Call call) {
        try {
            List<Integer> missing = call.attendance().missing(call.sequence());
            return missing.isEmpty()
                    ? "All ranks wait there: look at the network between the hosts, or raise ddp_timeout"
                    : "Not waiting there: world ranks %s; look at what they do, or raise ddp_timeout if they are only slow"
                            .formatted(missing);
        } catch (RuntimeException e) {
            return "The rendezvous store does not answer either: look at the log of world rank 0";
        }
    }

    private static String lostRank(Group group) {
        return "A rank of the group has ended or can't be reached: look at the logs of world ranks "
                + group.worldRanks();
    }
}
