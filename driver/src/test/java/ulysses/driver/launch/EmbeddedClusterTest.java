package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.File;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.launcher.JavaModuleOptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.mesh.RankMesh;

@Timeout(value = 90, unit = TimeUnit.SECONDS)
class EmbeddedClusterTest {

    /** What a user's JVM does: plain java, no spark-submit, no installed Spark. */
    static final class Driver {
        private Driver() {}

        public static void main(String[] arguments) throws InterruptedException {
            SparkConf conf = new SparkConf(false).setAppName("embedded").set("spark.ui.enabled", "false");
            new EmbeddedCluster(2, 1, 512)
                    .prepare(System.getenv("SPARK_HOME"), System.getProperty("java.class.path"))
                    .forEach(conf::set);
            RankJob job = new RankJob(
                    arguments[0],
                    StandInRank.class.getName(),
                    new RankMesh(2, 1),
                    Runs.config(Path.of(arguments[1]), Runs.twoRanks(1, 60)),
                    "steps=1000000",
                    List.of());
            try (JavaSparkContext spark = new JavaSparkContext(conf)) {
                new RunAttempts(spark, job, List.of(ConsoleProgress.lines(System.out, 1))).run();
            }
        }
    }

    @Test
    void leavesNoProcessWhenTheDriverIsKilled(@TempDir Path directory) throws Exception {
        String runId = "killed-driver";
        Process driver = driver(runId, directory);
        try {
            LocalCluster.await(
                    "ranks",
                    Duration.ofSeconds(60),
                    () -> LocalCluster.rankProcesses(runId).size() == 2);
            List<ProcessHandle> executors = driver.descendants().toList();

            driver.destroyForcibly().waitFor();

            LocalCluster.await(
                    "end of all ranks",
                    Duration.ofSeconds(20),
                    () -> LocalCluster.rankProcesses(runId).isEmpty());
            LocalCluster.await(
                    "end of all executors",
                    Duration.ofSeconds(20),
                    () -> executors.stream().noneMatch(ProcessHandle::isAlive));
        } finally {
            driver.descendants().forEach(ProcessHandle::destroyForcibly);
            driver.destroyForcibly();
        }
    }

    @Test
    void saysWhatToExportWhenSparkHomeIsMissing() {
        assertThatThrownBy(() -> EmbeddedCluster.forRanks(2, 2).prepare(null, "a.jar"))
                .isInstanceOf(LaunchException.class)
                .hasMessageStartingWith("SPARK_HOME is not set")
                .hasMessageContaining("deploy/local.sh");
    }

    @Test
    void makesTheDirectoryThatWorkersLookFor(@TempDir Path home) {
        Map<String, String> conf = EmbeddedCluster.forRanks(4, 2).prepare(home.toString(), "a.jar");

        assertThat(home.resolve("jars")).isEmptyDirectory();
        assertThat(conf)
                .containsEntry("spark.master", "local-cluster[4,1,1024]")
                .containsEntry("spark.executor.extraClassPath", "a.jar");
    }

    @ParameterizedTest(name = "{0} ranks on {1} cores")
    @CsvSource({"1, 1, 1, 1024", "1, 8, 8, 2816", "3, 8, 2, 1280", "4, 2, 1, 1024"})
    void dealsTheCoresOfTheMachine(int ranks, int cores, int each, int megabytes) {
        assertThat(EmbeddedCluster.forRanks(ranks, cores)).isEqualTo(new EmbeddedCluster(ranks, each, megabytes));
    }

    private static Process driver(String runId, Path directory) throws Exception {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        command.addAll(Arrays.asList(JavaModuleOptions.defaultModuleOptionArray()));
        command.addAll(List.of("-Xmx512m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp"));
        command.add(System.getProperty("java.class.path"));
        command.addAll(List.of(Driver.class.getName(), runId, directory.toString()));
        ProcessBuilder builder = new ProcessBuilder(command);
        builder.environment().put("SPARK_HOME", directory.resolve("home").toString());
        File log = directory.resolve("driver.log").toFile();
        return builder.redirectErrorStream(true).redirectOutput(log).start();
    }
}
