package ulysses.driver.launch;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * Spark's {@code local-cluster} from nothing but jars on the class path: master and workers inside this JVM, executors as processes of
 * their own. What plain {@code java -cp ... Main} runs on, and tests.
 *
 * @param workers executors, one per worker
 * @param coresPerWorker of each: tasks that prepare data, then the cores of its rank
 * @param workerMegabytes heap of each executor; rank processes live outside of it
 */
public record EmbeddedCluster(int workers, int coresPerWorker, int workerMegabytes) {
    private static final String LOOPBACK = "127.0.0.1";
    private static final int FIRST_TASK_MEGABYTES = 1024;
    private static final int TASK_MEGABYTES = 256;

    public EmbeddedCluster {
        if (workers < 1 || coresPerWorker < 1 || workerMegabytes < 512) {
            throw new IllegalArgumentException(
                    "embedded cluster of %d workers with %d cores and %d MB; it needs 1, 1 and 512 at least"
                            .formatted(workers, coresPerWorker, workerMegabytes));
        }
    }

    /** One executor for each of {@code ranks}, with its share of this machine's {@code cores}. */
    public static EmbeddedCluster forRanks(int ranks, int cores) {
        int each = Math.max(1, cores / ranks);
        return new EmbeddedCluster(ranks, each, FIRST_TASK_MEGABYTES + (each - 1) * TASK_MEGABYTES);
    }

    /** For {@code spark.master}. */
    public String master() {
        return "local-cluster[%d,%d,%d]".formatted(workers, coresPerWorker, workerMegabytes);
    }

    /**
     * The settings under which the session must be built, {@code spark.master} included. Makes {@code $SPARK_HOME/jars} if it is
     * missing: Spark's Worker refuses to start an executor without that directory, though it may be empty. There is no setting for
     * it, so the variable must be in the environment before this JVM starts.
     *
     * @param sparkHome the environment variable SPARK_HOME
     * @param classPath of executors; usually the system property {@code java.class.path}
     * @throws LaunchException when SPARK_HOME is not set or can't hold a directory
     */
    public Map<String, String> prepare(@Nullable String sparkHome, String classPath) {
        if (sparkHome == null || sparkHome.isBlank()) {
            throw new LaunchException(
                    FailureKind.CONFIG,
                    "SPARK_HOME is not set, and the embedded cluster's workers look for it; start with deploy/local.sh, or run: export"
                            + " SPARK_HOME=<any writable folder> SPARK_LOCAL_IP=127.0.0.1");
        }
        Path jars = Path.of(sparkHome, "jars");
        try {
            Files.createDirectories(jars);
        } catch (IOException e) {
            throw new LaunchException(
                    FailureKind.CONFIG,
                    "SPARK_HOME %s can't hold %s (%s); set it to a writable folder"
                            .formatted(sparkHome, jars, e.getMessage()),
                    e);
        }
        return settings(classPath);
    }

    private Map<String, String> settings(String classPath) {
        Map<String, String> conf = new LinkedHashMap<>();
        conf.put("spark.master", master());
        conf.put("spark.executor.memory", workerMegabytes + "m");
        conf.put("spark.executor.extraClassPath", classPath);
        conf.put("spark.executor.extraJavaOptions", "-XX:+UseSerialGC");
        // Without it every executor dies at once, "Cannot find any build directories".
        conf.put("spark.executorEnv.SPARK_SCALA_VERSION", "2.13");
        conf.put("spark.driver.host", LOOPBACK);
        conf.put("spark.driver.bindAddress", LOOPBACK);
        // Executors that can't start are started again in a tight loop otherwise.
        conf.put("spark.deploy.maxExecutorRetries", "2");
        conf.put("spark.scheduler.minRegisteredResourcesRatio", "1.0");
        conf.put("spark.scheduler.maxRegisteredResourcesWaitingTime", "60s");
        conf.put("spark.scheduler.barrier.maxConcurrentTasksCheck.interval", "1s");
        conf.put("spark.task.reaper.enabled", "true");
        conf.put("spark.task.reaper.killTimeout", "30s");
        return conf;
    }
}
