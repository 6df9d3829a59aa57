package ulysses.runtime.collective;

import java.util.Arrays;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Prints how long operations take over Gloo on this machine, as one JSON line each. Ranks are threads with one thread of local
 * math each. Run: {@code java -cp <test class path> ulysses.runtime.collective.CollectiveTiming [MiB] [ranks ...]}
 */
final class CollectiveTiming {
    private static final int WARM_UP = 5;
    private static final int RUNS = 21;

    private CollectiveTiming() {}

    public static void main(String[] arguments) {
        int mebibytes = arguments.length > 0 ? Integer.parseInt(arguments[0]) : 8;
        int[] groups = arguments.length > 1
                ? Arrays.stream(arguments).skip(1).mapToInt(Integer::parseInt).toArray()
                : new int[] {1, 2, 4};
        for (int ranks : groups) {
            RankThreads.forEachRank(ranks, all -> time(all.sequenceParallel(), mebibytes));
        }
    }

    private static void time(Collectives group, int mebibytes) {
        long elements = ((long) mebibytes << 20) / Float.BYTES / group.size() * group.size();
        long[] splits = new long[group.size()];
        Arrays.fill(splits, elements / group.size());
        Tensor whole = torch.ones(elements);
        Tensor other = torch.empty(elements);
        Tensor part = torch.empty(elements / group.size());
        print(
                group,
                "all-to-all",
                mebibytes,
                () -> group.allToAll(other, whole, splits, splits).await());
        print(group, "all-reduce", mebibytes, () -> group.allReduceSum(whole).await());
        print(
                group,
                "reduce-scatter",
                mebibytes,
                () -> group.reduceScatterSum(part, whole).await());
        print(group, "all-gather", mebibytes, () -> group.allGather(other, part).await());
    }

    private static void print(Collectives group, String operation, int mebibytes, Runnable run) {
        double[] milliseconds = new double[RUNS];
        for (int i = -WARM_UP; i < RUNS; i++) {
            group.barrier();
            long start = System.nanoTime();
            run.run();
            if (i >= 0) {
                milliseconds[i] = (System.nanoTime() - start) / 1e6;
            }
        }
        Arrays.sort(milliseconds);
        if (group.rank() == 0) {
            System.out.printf(
                    "{\"operation\": \"%s\", \"ranks\": %d, \"mib\": %d, \"median_ms\": %.2f, \"min_ms\": %.2f, \"max_ms\": %.2f}%n",
                    operation,
                    group.size(),
                    mebibytes,
                    milliseconds[RUNS / 2],
                    milliseconds[0],
                    milliseconds[RUNS - 1]);
        }
    }
}
