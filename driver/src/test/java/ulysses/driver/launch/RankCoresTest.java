package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.BrokenBarrierException;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.driver.plan.Preflight;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankEvent;

/** Two cores of one executor: two tasks that prepare data, then one rank. */
@Timeout(value = 90, unit = TimeUnit.SECONDS)
class RankCoresTest {

    @Test
    void givesAllCoresOfAnExecutorToItsRankAndOneToAnyOtherTask(@TempDir Path directory) throws Exception {
        Set<String> seen = ConcurrentHashMap.newKeySet();

        try (LocalCluster cluster = LocalCluster.start(
                new EmbeddedCluster(1, 2, 1024), Map.of(RankCores.KEY, "2", "spark.executorEnv.OMP_NUM_THREADS", ""))) {
            TrainingConfig config = Runs.config(
                    directory,
                    new ParallelConfig(
                            0, 1, ParallelConfig.Device.CPU, 30, 30, 1, 2, false, 30, 0, false, false, true));
            Preflight.Cleared cleared =
                    Preflight.of(cluster.spark(), config, line -> {}).check().slots();
            RankJob job = new RankJob(
                    "cores", StandInRank.class.getName(), cleared.mesh(), config, "steps=1,tellThreads=1", List.of());

            new RunAttempts(cluster.spark(), job, List.of(event -> addWarning(event, seen))).run();

            assertThat(seen).containsExactly("has threads: 2");
            assertThat(cleared.mesh().worldSize()).isEqualTo(1);
            assertThat(togetherWithAnother(cluster.spark())).containsExactly(true, true);
        }
    }

    /** Spark would refuse the profile with words of its own. */
    @ParameterizedTest(name = "{0}: {1}")
    @CsvSource({
        "3, spark.ulysses.rank.cores 3 is more than spark.executor.cores 2",
        "0, spark.ulysses.rank.cores 0 is no number of cores"
    })
    void refusesWhatDoesNotFitAnExecutor(String cores, String message, @TempDir Path directory) {
        TrainingConfig config = Runs.config(directory, Runs.twoRanks(1, 30));
        Map<String, String> settings = Map.of(RankCores.KEY, cores, "spark.executor.cores", "2");

        try (LocalCluster cluster = LocalCluster.start(new EmbeddedCluster(1, 2, 1024), settings)) {
            assertThatThrownBy(() ->
                            Preflight.of(cluster.spark(), config, line -> {}).check())
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining(message);
        }
    }

    /** Whether each of two tasks met the other while it ran; both are in the one executor's JVM. */
    private static List<Boolean> togetherWithAnother(JavaSparkContext spark) {
        return spark.parallelize(List.of(1, 2), 2).map(task -> Meeting.meets()).collect();
    }

    private static void addWarning(RankEvent event, Set<String> seen) {
        if (event instanceof RankEvent.Warning warning) {
            seen.add(warning.message());
        }
    }

    /** A place in the executor's JVM. */
    static final class Meeting {
        private static final CyclicBarrier BOTH = new CyclicBarrier(2);

        private Meeting() {}

        static boolean meets() throws InterruptedException {
            try {
                BOTH.await(20, TimeUnit.SECONDS);
                return true;
            } catch (BrokenBarrierException | TimeoutException e) {
                return false;
            }
        }
    }

    @Test
    void areThoseOfAnyTaskUnlessRanksHaveTheirOwn() {
        SparkConf conf = new SparkConf(false);
        assertThat(RankCores.of(conf)).isEqualTo(1);
        assertThat(RankCores.differ(conf)).isFalse();

        conf.set("spark.task.cpus", "4");
        assertThat(RankCores.of(conf)).isEqualTo(4);
        assertThat(RankCores.differ(conf)).isFalse();

        conf.set(RankCores.KEY, "8");
        assertThat(RankCores.of(conf)).isEqualTo(8);
        assertThat(RankCores.differ(conf)).isTrue();
    }
}
