package ulysses.job;

import java.io.File;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.apache.spark.launcher.JavaModuleOptions;

/**
 * Spark's standalone Master and Workers, each a process of its own on this machine, with a Spark installation put together from the
 * build's jars. Each Worker owns one GPU by a discovery script, as a machine with a GPU would say.
 */
final class StandaloneCluster implements AutoCloseable {

    private static final int WORKERS = 2;

    private final Path home;
    private final Path folder;
    private final int port = freePort();
    private final int pagePort = freePort();
    private final List<Process> processes = new ArrayList<>();

    private StandaloneCluster(Path folder) {
        this.folder = folder;
        this.home = folder.resolve("spark");
    }

    /** Starts Master and Workers below {@code folder} from jars in {@code build}, Maven's target folder, and waits for them. */
    static StandaloneCluster start(Path folder, Path build) throws IOException, InterruptedException {
        StandaloneCluster cluster = new StandaloneCluster(folder);
        cluster.install(build);
        cluster.daemon(
                "org.apache.spark.deploy.master.Master",
                "--port",
                String.valueOf(cluster.port),
                "--webui-port",
                String.valueOf(cluster.pagePort));
        for (int worker = 0; worker < WORKERS; worker++) {
            Path script = cluster.executable(
                    folder.resolve("gpus-" + worker + ".sh"),
                    "#!/bin/sh\necho '{\"name\":\"gpu\",\"addresses\":[\"" + worker + "\"]}'\n");
            cluster.daemon(
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
                    cluster.master());
        }
        Await.that(
                "workers of the standalone cluster",
                Duration.ofSeconds(60),
                () -> cluster.page().contains("\"aliveworkers\" : " + WORKERS));
        return cluster;
    }

    /** Kills a Worker with its executors, as a machine that loses its power would. */
    void killWorker(int worker) {
        Process process = processes.get(1 + worker); // behind the Master
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
    }

    /** For {@code --master}. */
    String master() {
        return "spark://127.0.0.1:" + port;
    }

    /** What the Master says of itself, as JSON. */
    String page() {
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:" + pagePort + "/json/"))
                .build();
        try {
            return HttpClient.newHttpClient()
                    .send(request, HttpResponse.BodyHandlers.ofString())
                    .body();
        } catch (IOException e) {
            return ""; // not up yet
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            return "";
        }
    }

    /** Runs a command in {@code directory} with this installation of Spark; gives its exit code and what it printed. */
    JobRun run(Path directory, List<String> command) throws IOException, InterruptedException {
        Path out = Files.createTempFile(folder, "submit", ".out");
        Path err = Files.createTempFile(folder, "submit", ".err");
        Process process = builder(command)
                .directory(directory.toFile())
                .redirectOutput(out.toFile())
                .redirectError(err.toFile())
                .start();
        processes.add(process);
        if (!process.waitFor(5, TimeUnit.MINUTES)) {
            throw new AssertionError("still running after 5 minutes: " + Files.readString(out) + Files.readString(err));
        }
        return new JobRun(process.exitValue(), Files.readString(out), Files.readString(err));
    }

    private void install(Path build) throws IOException {
        Path jars = Files.createDirectories(home.resolve("jars"));
        for (Path source : List.of(build.resolve("spark"), build.resolve("lib"))) {
            try (Stream<Path> files = Files.list(source)) {
                for (Path jar : files.toList()) {
                    String name = jar.getFileName().toString();
                    boolean ofSpark =
                            source.endsWith("spark") || name.matches("(jackson-(core|databind|annotations)|slf4j-).*");
                    if (ofSpark && Files.notExists(jars.resolve(name))) {
                        Files.createSymbolicLink(jars.resolve(name), jar);
                    }
                }
            }
        }
        Files.createDirectories(home.resolve("bin"));
        executable(
                home.resolve("bin/spark-submit"),
                "#!/bin/sh\nexec %s -Xmx512m -cp '%s/jars/*' org.apache.spark.deploy.SparkSubmit \"$@\"\n"
                        .formatted(String.join(" ", java()), home));
    }

    private Path executable(Path file, String text) throws IOException {
        Files.writeString(file, text);
        return Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
    }

    private static List<String> java() {
        List<String> line = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1"));
        line.addAll(List.of(JavaModuleOptions.defaultModuleOptions().strip().split("\\s+")));
        return line;
    }

    private void daemon(String... mainAndArguments) throws IOException {
        List<String> line = new ArrayList<>(java());
        line.addAll(List.of("-Xmx256m", "-cp", home + "/jars/*"));
        line.addAll(List.of(mainAndArguments));
        line.addAll(List.of("--host", "127.0.0.1"));
        File log = Files.createTempFile(folder, "daemon", ".log").toFile();
        processes.add(
                builder(line).redirectErrorStream(true).redirectOutput(log).start());
    }

    private ProcessBuilder builder(List<String> command) {
        ProcessBuilder builder = new ProcessBuilder(command).redirectInput(new File("/dev/null"));
        Map<String, String> environment = builder.environment();
        environment.put("SPARK_HOME", home.toString());
        environment.put("SPARK_SCALA_VERSION", "2.13");
        environment.put("SPARK_LOCAL_IP", "127.0.0.1");
        environment.put("DJL_OFFLINE", "true");
        environment.put("OPT_OUT_TRACKING", "true");
        return builder;
    }

    private static int freePort() {
        try (ServerSocket socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        } catch (IOException e) {
            throw new IllegalStateException("no free port", e);
        }
    }

    @Override
    public void close() {
        for (Process process : processes) {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly();
        }
    }
}
