package ulysses.job;

import org.apache.spark.SparkConf;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.extension.BeforeAllCallback;
import org.junit.jupiter.api.extension.ExtensionContext;
import org.junit.jupiter.api.extension.ExtensionContext.Namespace;
import ulysses.driver.launch.EmbeddedCluster;

/** An embedded cluster of two executor processes for all tests of this JVM; commands that find it running use it and leave it on. */
final class SharedCluster implements BeforeAllCallback {

    /** The cluster, closed by JUnit when all tests are done. */
    private record Session(SparkSession spark) implements AutoCloseable {
        static Session start() {
            SparkConf conf = new SparkConf(false).setAppName("tests of the job");
            new EmbeddedCluster(2, 1, 512)
                    .prepare(System.getenv("SPARK_HOME"), System.getProperty("java.class.path"))
                    .forEach(conf::set);
            conf.set("spark.ui.enabled", "false");
            conf.set("spark.executor.extraJavaOptions", "-XX:+UseSerialGC -XX:TieredStopAtLevel=1");
            conf.set("spark.ulysses.rank.memory", "256m");
            conf.set("spark.ulysses.rank.extraJavaOptions", "-XX:TieredStopAtLevel=1 -Xshare:auto");
            return new Session(SparkSession.builder().config(conf).getOrCreate());
        }

        @Override
        public void close() {
            spark.stop();
        }
    }

    @Override
    public void beforeAll(ExtensionContext context) {
        var unused = context.getRoot()
                .getStore(Namespace.create(SharedCluster.class))
                .getOrComputeIfAbsent(Session.class, absent -> Session.start());
    }
}
