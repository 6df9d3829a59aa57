package ulysses.runtime.collective;

import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorScope;

/**
 * Operations over one group of ranks. Every rank of the group calls the same operations in the same order, from one thread at a
 * time. Tensors are contiguous, on the device of the group, and of the same dtype on all ranks: float32, bfloat16, float64 or
 * int64. Every wait ends: with the result, or with a {@link CollectiveException} after the group's timeout.
 *
 * <p>An operation starts when it is called and its result may be read after {@link Pending#await()}; the simple form is {@code
 * group.allToAll(out, in, outSplits, inSplits).await()}.
 */
public interface Collectives {

    /** Rank within this group, 0 to size - 1. */
    int rank();

    /** Ranks of this group. */
    int size();

    /** What messages call this group, such as {@code sequence-parallel group 0 of 2}. */
    String name();

    /**
     * Sends rows {@code inSplits[r]} of {@code in} to rank {@code r}, in order of ranks, and receives {@code outSplits[r]} rows
     * from rank {@code r} into {@code out}; a row is everything below the first axis.
     *
     * @param out first axis has the sum of {@code outSplits}; not overlapping {@code in}
     * @param in first axis has the sum of {@code inSplits}
     * @param outSplits one a rank, 0 allowed; {@code outSplits[r]} here equals {@code inSplits[this]} at rank {@code r}
     * @param inSplits one a rank, 0 allowed
     * @return await gives {@code out}
     */
    Pending allToAll(Tensor out, Tensor in, long[] outSplits, long[] inSplits);

    /** Replaces {@code tensor} by its sum over all ranks. */
    Pending allReduceSum(Tensor tensor);

    /**
     * Sums {@code values}, at least one, over all ranks: in float64, on {@code device}, where the group's tensors lie. Blocks until
     * it is done.
     */
    default double[] sum(double[] values, Device device) {
        try (TensorScope scope = TensorScope.open()) {
            TensorOptions float64 = new TensorOptions().dtype(new ScalarTypeOptional(torch.ScalarType.Double));
            Tensor sums = torch.tensor(values, float64).to(device, torch.ScalarType.Double);
            double[] total = new double[values.length];
            new DoublePointer(allReduceSum(sums).await().cpu().data_ptr()).get(total);
            return total;
        }
    }

    /** Replaces {@code tensor} by its element-wise maximum over all ranks. */
    Pending allReduceMax(Tensor tensor);

    /**
     * Sums {@code in} over all ranks and leaves part {@code rank()} of it in {@code out}. On CPU it needs another buffer of the
     * size of {@code in} meanwhile, adds in order of ranks, and rounds bfloat16 sums once.
     *
     * @param in {@code size() * out.numel()} elements, cut evenly in storage order
     */
    Pending reduceScatterSum(Tensor out, Tensor in);

    /**
     * Puts {@code in} of all ranks one after the other, in order of ranks and in storage order, into {@code out}.
     *
     * @param out {@code size() * in.numel()} elements
     */
    Pending allGather(Tensor out, Tensor in);

    /** Replaces {@code tensor} by that of rank {@code root} of this group. */
    Pending broadcast(Tensor tensor, int root);

    /** Returns once every rank of the group has called it. */
    void barrier();

    /** Bytes moved so far, by operation. */
    Traffic traffic();

    /** Bytes that left this rank for other ranks in operations of this kind; see {@link Traffic} for what counts. */
    default long bytesSent(Operation operation) {
        return traffic().sent(operation);
    }

    /** Kinds of operations. */
    enum Operation {
        ALL_TO_ALL("all-to-all"),
        ALL_REDUCE("all-reduce"),
        REDUCE_SCATTER("reduce-scatter"),
        ALL_GATHER("all-gather"),
        BROADCAST("broadcast"),
        BARRIER("barrier");

        private final String text;

        Operation(String text) {
            this.text = text;
        }

        @Override
        public String toString() {
            return text;
        }
    }

    /** An operation in flight: keeps its buffers alive until awaited. Not thread-safe. */
    interface Pending extends AutoCloseable {

        /**
         * Waits until the result may be read (on CUDA: by work queued on the current stream afterwards) and returns it. A second
         * call gives the same again at once: the tensor, or the failure.
         *
         * @throws CollectiveException if a rank failed or the group's timeout passed
         */
        Tensor await();

        /** Awaits if nobody did; a failure that {@link #await()} has thrown is not thrown again. */
        @Override
        default void close() {
            await();
        }
    }
}
