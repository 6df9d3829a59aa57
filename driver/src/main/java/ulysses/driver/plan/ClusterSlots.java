package ulysses.driver.plan;

import java.time.Duration;
import java.util.OptionalInt;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import java.util.function.IntSupplier;
import java.util.function.LongSupplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.spark.SparkConf;
import ulysses.driver.launch.RankCores;

/**
 * How many ranks the cluster can run at once. Executors register one by one after the session is there, so the answer takes time.
 *
 * @param offered slots right now
 * @param expected slots when all executors that the settings ask for have come; empty when nobody can know
 * @param nanoTime a clock
 * @param pause called between two looks
 * @param progress takes a line for the user when the wait is long
 */
record ClusterSlots(
        IntSupplier offered, OptionalInt expected, LongSupplier nanoTime, Pause pause, Consumer<String> progress) {
    private static final Pattern LOCAL_CLUSTER =
            Pattern.compile("local-cluster\\[\\s*(\\d+)\\s*,\\s*(\\d+)\\s*,\\s*\\d+\\s*]");
    /** A cluster of unknown size is complete when no slot has come for so long; chosen, not tuned. */
    private static final Duration SETTLED = Duration.ofSeconds(5);
    /** A wait this short is not worth a line. */
    private static final Duration FIRST_LINE = Duration.ofSeconds(5);
    /** Between two lines of a longer one. */
    private static final Duration NEXT_LINE = Duration.ofSeconds(30);

    /** Lets some time pass. */
    interface Pause {
        void once() throws InterruptedException;
    }

    /** Of a running session. */
    static ClusterSlots of(SparkConf conf, IntSupplier offered, Consumer<String> progress) {
        return new ClusterSlots(
                offered, expected(conf), System::nanoTime, () -> TimeUnit.MILLISECONDS.sleep(100), progress);
    }

    /** Waits until {@code wanted} slots are there and gives how many there are, fewer if {@code limit} passes. */
    int await(int wanted, Duration limit) throws InterruptedException {
        long begin = nanoTime.getAsLong();
        long line = FIRST_LINE.toNanos();
        int now = offered.getAsInt();
        long waited = 0;
        while (now < wanted && waited < limit.toNanos()) {
            if (waited >= line) {
                progress.accept("waiting for executors: the cluster offers %d of %d slots for ranks; %d s are left"
                        .formatted(now, wanted, limit.minusNanos(waited).toSeconds()));
                line = waited + NEXT_LINE.toNanos();
            }
            pause.once();
            now = offered.getAsInt();
            waited = nanoTime.getAsLong() - begin;
        }
        return now;
    }

    /** Waits until the cluster is complete and gives what it offers; at least one slot, unless {@code limit} passes. */
    int awaitAll(Duration limit) throws InterruptedException {
        if (expected.isPresent()) {
            return await(expected.getAsInt(), limit);
        }
        int now = await(1, limit);
        long changed = nanoTime.getAsLong();
        while (nanoTime.getAsLong() - changed < Math.min(SETTLED.toNanos(), limit.toNanos())) {
            pause.once();
            int next = offered.getAsInt();
            changed = next == now ? changed : nanoTime.getAsLong();
            now = next;
        }
        return now;
    }

    /** Slots that the settings ask for: executors times the tasks that fit one by cores; GPUs are judged by what is offered. */
    static OptionalInt expected(SparkConf conf) {
        String master = conf.get("spark.master", "");
        int perRank = Math.max(1, RankCores.of(conf)); // less is refused by SparkSettings
        Matcher embedded = LOCAL_CLUSTER.matcher(master);
        if (embedded.matches()) {
            int cores = Integer.parseInt(embedded.group(2));
            return OptionalInt.of(Integer.parseInt(embedded.group(1)) * (cores / perRank));
        }
        if (conf.contains("spark.executor.instances") && conf.contains("spark.executor.cores")) {
            int gpus = conf.getInt("spark.executor.resource.gpu.amount", Integer.MAX_VALUE);
            int tasks = Math.min(conf.getInt("spark.executor.cores", 1) / perRank, gpus);
            return OptionalInt.of(conf.getInt("spark.executor.instances", 1) * tasks);
        }
        return OptionalInt.empty();
    }
}
