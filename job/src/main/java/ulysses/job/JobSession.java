package ulysses.job;

import java.io.PrintStream;
import java.util.Optional;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.SparkSession;
import scala.jdk.javaapi.OptionConverters;
import ulysses.driver.launch.EmbeddedCluster;
import ulysses.driver.launch.FailureKind;
import ulysses.driver.launch.LaunchException;
import ulysses.driver.launch.RankCores;
import ulysses.driver.launch.StandaloneTokens;
import ulysses.runtime.config.ParallelConfig;

/**
 * The Spark session of one command: the one that runs in this JVM already, as in a notebook; else the one that spark-submit
 * describes; else an embedded cluster on this machine, with one executor a rank unless a {@code local-cluster} is named. Closing
 * it ends everything that it started.
 *
 * @param spark the session
 * @param tokens of its executors
 * @param owned whether it was started here
 */
record JobSession(SparkSession spark, StandaloneTokens tokens, boolean owned) implements AutoCloseable {

    /**
     * Opens it. On a cluster Spark waits for executors meanwhile, which can take minutes: {@code out} gets a line before.
     *
     * @param parallel says how many executors an embedded cluster needs
     */
    static JobSession open(SparkConf conf, String name, ParallelConfig parallel, PrintStream out) {
        Optional<SparkSession> running =
                OptionConverters.toJava(SparkSession.getDefaultSession()).filter(SparkSession::isUsable);
        if (running.isPresent()) {
            return of(running.get(), false);
        }
        conf.setIfMissing("spark.app.name", name);
        if (isEmbedded(conf)) {
            int ranks = Math.max(parallel.ranks(), parallel.sequenceParallelSize());
            boolean sized = conf.contains("spark.master");
            EmbeddedCluster cluster = EmbeddedCluster.forRanks(
                    ranks, sized ? ranks : Runtime.getRuntime().availableProcessors());
            if (!sized) {
                conf.setIfMissing(RankCores.KEY, Integer.toString(cluster.coresPerWorker()));
            }
            cluster.prepare(System.getenv("SPARK_HOME"), System.getProperty("java.class.path"))
                    .forEach(conf::setIfMissing);
            conf.setIfMissing("spark.ui.enabled", "false");
        } else {
            out.println("starting Spark on %s: waits up to %s for executors"
                    .formatted(
                            conf.get("spark.master"),
                            conf.get("spark.scheduler.maxRegisteredResourcesWaitingTime", "30s")));
        }
        return of(start(conf), true);
    }

    private static SparkSession start(SparkConf conf) {
        try {
            return SparkSession.builder().config(conf).getOrCreate();
        } catch (IllegalStateException ended) { // on Kubernetes, after too many executors failed
            throw new LaunchException(
                    FailureKind.INFRASTRUCTURE,
                    "Spark ended while it waited for executors (%s): they start and fail; read the log of one of them, and see that it reaches the driver: spark.driver.host is %s"
                            .formatted(ended.getMessage(), conf.get("spark.driver.host", "this host's name")),
                    ended);
        }
    }

    private static JobSession of(SparkSession spark, boolean owned) {
        return new JobSession(spark, StandaloneTokens.open(spark.sparkContext()), owned);
    }

    /** Executors of a {@code local-cluster} that nobody submits to know of no jars, and would be started again without end. */
    private static boolean isEmbedded(SparkConf conf) {
        boolean submitted = conf.contains("spark.submit.deployMode");
        return !conf.contains("spark.master") || (conf.get("spark.master").startsWith("local-cluster") && !submitted);
    }

    /** The session's context. */
    JavaSparkContext context() {
        return JavaSparkContext.fromSparkContext(spark.sparkContext());
    }

    @Override
    public void close() {
        tokens.close();
        if (owned) {
            spark.stop();
        }
    }
}
