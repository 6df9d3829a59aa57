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
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.apache.spark.launcher.JavaModuleOptions;

/**
 * A Spark installation, and the processes that run with it: daemons of a cluster, and commands as a user gives them. {@link #close}
 * ends what still runs.
 */
final class SparkInstallation implements AutoCloseable {

    private final Path folder;
    private final Path home;
    private final Map<String, String> variables = new HashMap<>();
    private final List<Process> processes = new ArrayList<>();

    private SparkInstallation(Path folder, Path home) {
        this.folder = folder;
        this.home = home;
        variables.putAll(Map.of(
                "SPARK_HOME", home.toString(),
                "SPARK_SCALA_VERSION", "2.13",
                "SPARK_LOCAL_IP", "127.0.0.1",
                "DJL_OFFLINE", "true",
                "OPT_OUT_TRACKING", "true"));
    }

    /** The one at {@code home}; what its processes print lies in {@code folder}. */
    static SparkInstallation at(Path home, Path folder) throws IOException {
        return new SparkInstallation(Files.createDirectories(folder), home);
    }

    /** Puts one together below {@code folder} from jars in {@code build}, Maven's target folder. */
    static SparkInstallation from(Path build, Path folder) throws IOException {
        SparkInstallation spark = at(folder.resolve("spark"), folder);
        spark.linkJars(build);
        Files.createDirectories(spark.home.resolve("bin"));
        spark.executable(
                "spark/bin/spark-submit",
                "#!/bin/sh\nexec %s -Xmx512m -cp \"${HADOOP_CONF_DIR:+$HADOOP_CONF_DIR:}%s/jars/*\" org.apache.spark.deploy.SparkSubmit \"$@\"\n"
                        .formatted(String.join(" ", java()), spark.home));
        return spark;
    }

    private void linkJars(Path build) throws IOException {
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
    }

    /** Where it is. */
    Path home() {
        return home;
    }

    /** Gives an environment variable to all processes from now on. */
    void variable(String name, String value) {
        variables.put(name, value);
    }

    /** Unpacks the distribution of {@code archive} and gives its folder. */
    Path unpack(Path archive) throws IOException, InterruptedException {
        Process tar = new ProcessBuilder("tar", "-xzf", archive.toString(), "-C", folder.toString())
                .inheritIO()
                .start();
        if (tar.waitFor() != 0) {
            throw new IOException("not unpacked: " + archive);
        }
        return folder.resolve("ulysses-on-spark-0.1.0");
    }

    /** A script of this name in the installation's folder. */
    Path executable(String name, String text) throws IOException {
        Path file = Files.writeString(folder.resolve(name), text);
        return Files.setPosixFilePermissions(file, PosixFilePermissions.fromString("rwxr-xr-x"));
    }

    /** Starts a JVM with Spark's jars, behind those of {@code classPath}, in the background. */
    Process daemon(List<String> classPath, List<String> mainAndArguments) throws IOException {
        List<String> entries = new ArrayList<>(classPath);
        entries.add(home + "/jars/*");
        List<String> line = new ArrayList<>(java());
        line.addAll(List.of("-Xmx256m", "-cp", String.join(File.pathSeparator, entries)));
        line.addAll(mainAndArguments);
        Path log = Files.createTempFile(folder, "daemon", ".log");
        Process process = builder(line)
                .redirectErrorStream(true)
                .redirectOutput(log.toFile())
                .start();
        processes.add(process);
        return process;
    }

    /** Runs a command in {@code directory}; gives its exit code and what it printed. */
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

    /** The {@code java} of this JVM, with what Spark needs of it. */
    static List<String> java() {
        List<String> line = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1"));
        line.addAll(List.of(JavaModuleOptions.defaultModuleOptions().strip().split("\\s+")));
        return line;
    }

    private ProcessBuilder builder(List<String> command) {
        ProcessBuilder builder = new ProcessBuilder(command).redirectInput(new File("/dev/null"));
        builder.environment().putAll(variables);
        return builder;
    }

    /** What a daemon answers to GET of {@code path} at {@code address}, as JSON; "" while it does not. */
    static String page(String address, String path) {
        HttpRequest request = HttpRequest.newBuilder(URI.create("http://" + address + path))
                .header("Accept", "application/json")
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

    /** A port that nothing listens at. */
    static int freePort() {
        try (ServerSocket socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        } catch (IOException e) {
            throw new IllegalStateException("no free port", e);
        }
    }

    /** Kills a process and what it started. */
    static void kill(Process process) {
        process.descendants().forEach(ProcessHandle::destroyForcibly);
        process.destroyForcibly();
    }

    @Override
    public void close() {
        processes.forEach(SparkInstallation::kill);
    }
}
