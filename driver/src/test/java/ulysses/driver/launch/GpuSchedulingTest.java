package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

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
        Set<String> seen = ConcurrentHashMap.newKeySet();

        try (LocalCluster cluster = cluster(directory, 800)) {
            new RunAttempts(cluster.spark(), job(cluster, directory, 30), List.of(event -> addWarning(event, seen)))
                    .run();
            long rows = cluster.spark().parallelize(List.of(1, 2, 3), 3).count();

            assertThat(seen).containsExactlyInAnyOrder("rank sees GPU GPU-aa", "rank sees GPU GPU-bb");
            assertThat(rows).isEqualTo(3);
        }
    }

    @Test
    void refusesAGpuWhoseMemoryAnotherProcessHolds(@TempDir Path directory) throws Exception {
        try (LocalCluster cluster = cluster(directory, 30_500)) {
            RunAttempts attempts = new RunAttempts(cluster.spark(), job(cluster, directory, 5), List.of());

            assertThatThrownBy(attempts::run)
                    .isInstanceOf(LaunchException.class)
                    .hasMessageContaining("GPU GPU-bb of host ") // as Spark calls it
                    .hasMessageContaining(
                            " has 30500 of 81559 MiB in use before the rank starts (by 123, python, 30000 MiB), more than 10 %: end what holds it");
        }
    }

    private static LocalCluster cluster(Path directory, int usedMib) throws Exception {
        return LocalCluster.start(
                new EmbeddedCluster(1, 2, 1024),
                Map.of(
                        "spark.executor.cores", "1",
                        "spark.worker.resource.gpu.amount", "2",
                        "spark.worker.resource.gpu.discoveryScript", script(directory, "\"4\",\"7\""),
                        "spark.executor.resource.gpu.amount", "1",
                        "spark.ulysses.gpu.program", gpuProgram(directory, usedMib)));
    }

    private static RankJob job(LocalCluster cluster, Path directory, int rendezvousSeconds)
            throws InterruptedException {
        TrainingConfig config = Runs.config(
                directory,
                new ParallelConfig(
                        0,
                        2,
                        ParallelConfig.Device.CUDA,
                        30,
                        rendezvousSeconds,
                        1,
                        2,
                        false,
                        30,
                        0,
                        false,
                        false,
                        true));
        Preflight.Cleared cleared =
                Preflight.of(cluster.spark(), config, line -> {}).check().slots();
        return new RankJob("gpus", StandInRank.class.getName(), cleared.mesh(), config, "steps=1", List.of());
    }

    /** What nvidia-smi prints of two GPUs, of which one is another's. */
    private static String gpuProgram(Path directory, int usedMib) throws Exception {
        return executable(directory.resolve("gpu-program"), """
                #!/bin/sh
                case "$1 $4" in
                  "--query-gpu=uuid,memory.total,memory.used 4") echo "GPU-aa, 81559, 4" ;;
                  "--query-gpu=uuid,memory.total,memory.used 7") echo "GPU-bb, 81559, %d" ;;
                  "--query-compute-apps=pid,process_name,used_memory 7") echo "123, python, 30000" ;;
                esac
                """.formatted(usedMib));
    }

    private static void addWarning(RankEvent event, Set<String> seen) {
        if (event instanceof RankEvent.Warning warning) {
            seen.add("rank " + warning.message());
        }
    }

    private static String script(Path directory, String addresses) throws Exception {
        return executable(
                directory.resolve("gpus.sh"),
                "#!/bin/sh\necho '{\"name\":\"gpu\",\"addresses\":[" + addresses + "]}'\n");
    }

    private static String executable(Path script, String text) throws Exception {
        Files.writeString(script, text);
        assertThat(script.toFile().setExecutable(true)).isTrue();
        return script.toString();
    }
}
