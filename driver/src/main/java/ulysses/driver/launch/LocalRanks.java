package ulysses.driver.launch;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeoutException;
import java.util.function.Consumer;
import org.apache.spark.SparkConf;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.mesh.RankMesh;

/**
 * Ranks as child processes of this JVM, without Spark: the same processes with the same main class as on a cluster, on this host. For
 * benchmarks.
 *
 * @param mainClass what each rank process runs
 * @param mesh all ranks
 * @param threads for local math, of each rank
 * @param directory scratch folder; each rank gets one inside
 */
public record LocalRanks(String mainClass, RankMesh mesh, int threads, Path directory) {
    private static final String LOOPBACK = "127.0.0.1";

    /**
     * Runs all ranks to their end.
     *
     * @param events told each event, one at a time
     * @param log where their logs go
     * @throws LaunchException when one fails
     */
    public void run(TrainingConfig config, String trainRows, Consumer<RankEvent> events, PrintStream log)
            throws IOException, InterruptedException {
        List<RankProcess> children = new ArrayList<>();
        Consumer<RankEvent> oneAtATime = event -> {
            synchronized (this) {
                events.accept(event);
            }
        };
        try {
            for (int rank = 0; rank < mesh.worldSize(); rank++) {
                boolean cuda = config.parallel().device() == ParallelConfig.Device.CUDA;
                children.add(start(rank, cuda ? Integer.toString(rank) : null, oneAtATime, log));
            }
            assign(children, config, trainRows);
            for (int rank = 0; rank < children.size(); rank++) {
                if (!children.get(rank).await(() -> false)) {
                    RankFailure failure = children.get(rank).failure(rank, LOOPBACK);
                    throw new LaunchException(failure.kind(), failure.describe());
                }
            }
        } finally {
            children.forEach(RankProcess::close);
        }
    }

    private RankProcess start(int rank, @Nullable String gpu, Consumer<RankEvent> events, PrintStream log)
            throws IOException {
        String label = "rank " + rank;
        RankCommand command = RankCommand.prepare(
                new RankCommand.Wishes(
                        mainClass,
                        label,
                        Files.createDirectories(directory.resolve("process-" + rank)),
                        threads,
                        gpu,
                        Map.of(),
                        null),
                new SparkConf(),
                LocalRanks.class.getClassLoader());
        return RankProcess.start(command, RankStarter.PROCESS, label, events, log);
    }

    private void assign(List<RankProcess> children, TrainingConfig config, String trainRows)
            throws IOException, InterruptedException {
        children.get(0).assign(assignment(0, 0, config, trainRows));
        int port = 0;
        try {
            port = children.get(0)
                    .awaitStore(Duration.ofSeconds(config.parallel().rendezvousSeconds()), () -> false);
        } catch (TimeoutException e) {
            throw new LaunchException(FailureKind.INFRASTRUCTURE, String.valueOf(e.getMessage()), e);
        }
        for (int rank = 1; rank < children.size() && port > 0; rank++) {
            children.get(rank).assign(assignment(rank, port, config, trainRows));
        }
    }

    private RankAssignment assignment(int rank, int storePort, TrainingConfig config, String trainRows) {
        return new RankAssignment(
                rank,
                mesh,
                LOOPBACK,
                LOOPBACK,
                storePort,
                1,
                "local",
                0,
                threads,
                trainRows,
                List.of(),
                directory.toString(),
                config);
    }
}
