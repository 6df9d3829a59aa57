package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import ulysses.driver.plan.Preflight;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankEvent;

/** How Spark hands out GPUs can be seen without one: a discovery script only prints numbers. */
@Timeout(value = 90, unit = TimeUnit.SECONDS)
class GpuSchedulingTest {

    @Test
    void givesEachRankAGpuOfItsOwnAndOtherStagesNone(@TempDir Path directory) throws Exception {
        Map<String, String> gpus = Map.of(
                "spark.executor.cores", "1",
                "spark.worker.resource.gpu.amount", "2",
                "spark.worker.resource.gpu.discoveryScript", script(directory, "\"4\",\"7\""),
                "spark.executor.resource.gpu.amount", "1");
        TrainingConfig config = Runs.config(
                directory,
                new ParallelConfig(0, 2, ParallelConfig.Device.CUDA, 30, 30, 1, 2, false, 30, 0, false, false, true));
        Set<String> seen = ConcurrentHashMap.newKeySet();

        try (LocalCluster cluster = LocalCluster.start(new EmbeddedCluster(1, 2, 1024), gpus)) {
            Preflight.Cleared cleared =
                    Preflight.of(cluster.spark(), config).check().slots();
            RankJob job =
                    new RankJob("gpus", StandInRank.class.getName(), cleared.mesh(), config, "steps=1", List.of());
            new RunAttempts(cluster.spark(), job, List.of(event -> addWarning(event, seen))).run();
            long rows = cluster.spark().parallelize(List.of(1, 2, 3), 3).count();

            assertThat(seen).containsExactlyInAnyOrder("rank sees GPU 4", "rank sees GPU 7");
            assertThat(rows).isEqualTo(3);
        }
    }

    private static void addWarning(RankEvent event, Set<String> seen) {
        if (event instanceof RankEvent.Warning warning) {
            seen.add("rank " + warning.message());
        }
    }

    private static String script(Path directory, String addresses) throws Exception {
        Path script = directory.resolve("gpus.sh");
        Files.writeString(script, "#!/bin/sh\necho '{\"name\":\"gpu\",\"addresses\":[" + addresses + "]}'\n");
        assertThat(script.toFile().setExecutable(true)).isTrue();
        return script.toString();
    }
}
