package ulysses.job;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Two data-parallel ranks on a standalone cluster of two Workers, once in peace; once one Worker is killed for good behind a
 * checkpoint, and {@code elastic: true} goes on with the other. Prints how far the weights are from each other, relative to their way.
 *
 * <pre>mvn -B package -DskipTests; java -cp ... ulysses.job.ElasticRun FOLDER job/target</pre>
 */
final class ElasticRun {
    private static final int STEPS = 24;

    private ElasticRun() {}

    public static void main(String[] given) throws Exception {
        Path folder = Files.createDirectories(Path.of(given[0]).toAbsolutePath());
        Path build = Path.of(given[1]).toAbsolutePath();
        Path peace = folder.resolve("peace");
        Path war = folder.resolve("war");
        ExecutorService background = Executors.newSingleThreadExecutor();
        try (StandaloneCluster cluster = StandaloneCluster.start(folder, build)) {
            Path unpacked = cluster.spark().unpack(build.resolve("ulysses-on-spark-0.1.0-cpu.tar.gz"));
            cluster.spark().run(unpacked, command(cluster, unpacked, peace)).succeeded();
            Future<JobRun> run =
                    background.submit(() -> cluster.spark().run(unpacked, command(cluster, unpacked, war)));
            Await.that(
                    "a checkpoint",
                    Duration.ofMinutes(4),
                    () -> Files.exists(war.resolve("checkpoint-8/MANIFEST.json")));
            cluster.killWorker(1);
            JobRun ended = run.get().succeeded();
            ended.out().lines().filter(line -> line.startsWith("done:")).forEach(System.out::println);
            ended.err()
                    .lines()
                    .filter(line -> line.contains("RunAttempts: elastic"))
                    .forEach(System.out::println);
        } finally {
            background.shutdownNow();
        }
        double away = Weights.of(war).deviation(Weights.of(peace), Weights.ofCheckpoint(peace.resolve("checkpoint-8")));
        System.out.printf("weights after %d steps: %.1e of their way since step 8%n", STEPS, away);
        if (!(away < 1e-3)) {
            throw new AssertionError("another run than the one in peace");
        }
    }

    private static List<String> command(StandaloneCluster cluster, Path unpacked, Path output) {
        List<String> command = new ArrayList<>(
                List.of(unpacked.resolve("deploy/submit.sh").toString(), "--master", cluster.master(), "--ranks", "2"));
        command.addAll(
                List.of("--cores", "2", "--executor-memory", "1g", "--driver-memory", "512m", "--device", "cpu"));
        command.addAll(List.of("conf/quickstart.yaml", "--output_dir=" + output, "--max_steps=" + STEPS));
        command.addAll(List.of("--save_steps=8", "--sequence_parallel_size=1", "--save_total_limit=5"));
        command.addAll(List.of("--elastic=true", "--rendezvous_timeout=20", "--logging_steps=1"));
        return command;
    }
}
