package ulysses.driver.launch;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.function.BooleanSupplier;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;

/** A real cluster of two executor processes on this machine; one per suite, since it takes seconds to start. */
final class LocalCluster implements AutoCloseable {
    private final JavaSparkContext spark;

    private LocalCluster(JavaSparkContext spark) {
        this.spark = spark;
    }

    /** Two executors of one slot. */
    static LocalCluster start() {
        return start(new EmbeddedCluster(2, 1, 512), Map.of());
    }

    static LocalCluster start(EmbeddedCluster size, Map<String, String> more) {
        SparkConf conf = new SparkConf(false).setAppName("launch tests");
        size.prepare(System.getenv("SPARK_HOME"), System.getProperty("java.class.path"))
                .forEach(conf::set);
        conf.set("spark.ui.enabled", "false");
        conf.set("spark.executor.memory", "512m");
        conf.set("spark.executor.extraJavaOptions", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1");
        conf.set("spark.ulysses.rank.memory", "64m");
        conf.set("spark.ulysses.rank.extraJavaOptions", "-XX:TieredStopAtLevel=1 -Xshare:auto");
        more.forEach(conf::set);
        return new LocalCluster(new JavaSparkContext(conf));
    }

    JavaSparkContext spark() {
        return spark;
    }

    @Override
    public void close() {
        spark.close();
    }

    /** Rank processes of {@code runId} that are alive on this machine. */
    static List<ProcessHandle> rankProcesses(String runId) {
        return ProcessHandle.allProcesses()
                .filter(process -> process.info()
                        .commandLine()
                        .filter(line -> line.contains(StandInRank.class.getName()) && line.contains(" " + runId + "/"))
                        .isPresent())
                .toList();
    }

    /** Waits for {@code condition}; fails loudly when it does not come true. */
    static void await(String what, Duration limit, BooleanSupplier condition) throws InterruptedException {
        long deadline = System.nanoTime() + limit.toNanos();
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("waited %d s in vain for: %s".formatted(limit.toSeconds(), what));
            }
            Thread.sleep(20);
        }
    }
}
