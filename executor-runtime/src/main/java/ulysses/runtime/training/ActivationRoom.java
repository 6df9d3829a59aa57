package ulysses.runtime.training;

import java.util.List;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.memory.DeviceMemory;
import ulysses.runtime.model.CausalLm;

/**
 * {@code activation_memory: auto}: the first step of an attempt keeps what attention gave, and what memory it leaves is kept from the
 * second step on. Measured and not estimated, so it holds for any model and device; numbers are the same whatever is kept.
 * Collective: all ranks call it alike.
 */
final class ActivationRoom {

    /** Of what is left, so much is used: the rest is for what other processes take later; chosen, not tuned. */
    private static final double SHARE = 0.8;

    private final CausalLm model;
    private final DeviceMemory memory;
    private final Agreement agreement;
    private final Place place;
    private final long heldBefore;

    /**
     * Whose memory it is.
     *
     * @param device names what ranks share the memory of: the host on CPU
     * @param reserved bytes that a rank takes there between steps, and has not yet
     */
    record Place(String device, long reserved) {}

    /** Before the first step. */
    ActivationRoom(CausalLm model, DeviceMemory memory, Agreement agreement, Place place) {
        this.model = model;
        this.memory = memory;
        this.agreement = agreement;
        this.place = place;
        memory.resetPeak();
        this.heldBefore = memory.current();
    }

    /** After the first step, which {@code batches} were for; says how many bytes more may be kept for a stream as long as its longest. */
    long open(StepBatches batches) {
        long tokens = batches.microBatches().stream()
                .mapToLong(MicroBatch::length)
                .max()
                .orElse(1);
        List<String> devices = agreement.gather(place.device());
        long sharers = devices.stream().filter(place.device()::equals).count();
        long unused = memory.peak() - memory.current(); // resident, but free again
        long left = left(memory.available(), sharers, unused, place.reserved());
        long used = memory.peak() - heldBefore;
        List<long[]> all = agreement.gather(new long[] {left, used, tokens});
        long least = all.stream().mapToLong(rank -> rank[0]).min().orElseThrow();
        double perToken = all.stream()
                .mapToDouble(rank -> (double) rank[1] / rank[2])
                .max()
                .orElseThrow();
        model.keepBeyondAttention(length -> Math.round(least - perToken * Math.max(0, length - tokens)));
        return Math.max(0, least);
    }

    /**
     * Bytes that each of {@code sharers} may keep of {@code available}.
     *
     * @param unused what a step takes again, of each of them
     * @param reserved what it takes beside, of each of them
     */
    static long left(long available, long sharers, long unused, long reserved) {
        return Math.round(SHARE * (available / (double) sharers - unused)) - reserved;
    }
}
