package ulysses.job;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;

/**
 * Spark's standalone Master and Workers, each a process of its own on this machine. Each Worker owns one GPU by a discovery script, as
 * a machine with a GPU would say.
 */
final class StandaloneCluster implements AutoCloseable {

    private static final int WORKERS = 2;

    private final SparkInstallation spark;
    private final int port = SparkInstallation.freePort();
    private final int pagePort = SparkInstallation.freePort();
    private final List<Process> workers = new ArrayList<>();

    private StandaloneCluster(SparkInstallation spark) {
        this.spark = spark;
    }

    /** Starts Master and Workers below {@code folder} from jars in {@code build}, Maven's target folder, and waits for them. */
    static StandaloneCluster start(Path folder, Path build) throws IOException, InterruptedException {
        return start(folder, SparkInstallation.from(build, folder));
    }

    /** The same of {@code spark}, whose variables all its processes have. */
    static StandaloneCluster start(Path folder, SparkInstallation spark) throws IOException, InterruptedException {
        StandaloneCluster cluster = new StandaloneCluster(spark);
        cluster.daemon(List.of(
                "org.apache.spark.deploy.master.Master",
                "--port",
                String.valueOf(cluster.port),
                "--webui-port",
                String.valueOf(cluster.pagePort)));
        for (int worker = 0; worker < WORKERS; worker++) {
            Path script = cluster.spark.executable(
                    "gpus-" + worker + ".sh",
                    "#!/bin/sh\necho '{\"name\":\"gpu\",\"addresses\":[\"" + worker + "\"]}'\n");
            cluster.workers.add(cluster.daemon(List.of(
                    "-Dspark.worker.resource.gpu.amount=1",
                    "-Dspark.worker.resource.gpu.discoveryScript=" + script,
                    "org.apache.spark.deploy.worker.Worker",
                    "--cores",
                    "2",
                    "--memory",
                    "2g",
                    "--webui-port",
                    "0",
                    "--work-dir",
                    folder.resolve("work-" + worker).toString(),
                    cluster.master())));
        }
        Await.that(
                "workers of the standalone cluster",
                Duration.ofSeconds(60),
                () -> cluster.page().contains("\"aliveworkers\" : " + WORKERS));
        return cluster;
    }

    private Process daemon(List<String> mainAndArguments) throws IOException {
        List<String> line = new ArrayList<>(mainAndArguments);
        line.addAll(List.of("--host", "127.0.0.1"));
        return spark.daemon(List.of(), line);
    }

    /** Kills a Worker with its executors, as a machine that loses its power would. */
    void killWorker(int worker) {
        SparkInstallation.kill(workers.get(worker));
    }

    /** What it runs with. */
    SparkInstallation spark() {
        return spark;
    }

    /** For {@code --master}. */
    String master() {
        return "spark://127.0.0.1:" + port;
    }

    /** What the Master says of itself, as JSON. */
    String page() {
        return SparkInstallation.page("127.0.0.1:" + pagePort, "/json/");
    }

    @Override
    public void close() {
        spark.close();
    }
}
