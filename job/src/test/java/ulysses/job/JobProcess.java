package ulysses.job;

import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.spark.launcher.JavaModuleOptions;

/** The job as a process of its own with a cluster of its own, as {@code deploy/local.sh} starts it. */
record JobProcess(Process process, Path out, Path err) implements AutoCloseable {

    /** Starts it; {@code jvmOptions} are such as {@code -Dspark.key=value}. */
    static JobProcess start(Path folder, List<String> jvmOptions, List<String> arguments) throws IOException {
        return start(List.of(), folder, jvmOptions, arguments);
    }

    /** The same behind {@code prefix}, a command that runs the command behind it. */
    static JobProcess start(List<String> prefix, Path folder, List<String> jvmOptions, List<String> arguments)
            throws IOException {
        List<String> line = new ArrayList<>(prefix);
        line.addAll(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx512m",
                "-XX:+UseSerialGC",
                "-XX:TieredStopAtLevel=1"));
        line.addAll(
                Arrays.asList(JavaModuleOptions.defaultModuleOptions().strip().split("\\s+")));
        line.addAll(jvmOptions);
        line.addAll(List.of("-cp", System.getProperty("java.class.path"), Main.class.getName()));
        line.addAll(arguments);
        Files.createDirectories(folder);
        Path out = Files.createTempFile(folder, "job", ".out");
        Path err = Files.createTempFile(folder, "job", ".err");
        ProcessBuilder builder = new ProcessBuilder(line)
                .directory(folder.toFile())
                .redirectInput(new File("/dev/null"))
                .redirectOutput(out.toFile())
                .redirectError(err.toFile());
        return new JobProcess(builder.start(), out, err);
    }

    /** Waits for its end. */
    JobRun await() throws InterruptedException {
        if (!process.waitFor(5, TimeUnit.MINUTES)) {
            throw new AssertionError("still running after 5 minutes: " + text(out) + text(err));
        }
        return new JobRun(process.exitValue(), text(out), text(err));
    }

    /** Everything that it started and that runs now. */
    List<ProcessHandle> descendants() {
        return process.descendants().toList();
    }

    /** Ends it as a crash would: it gets no chance to say goodbye. */
    void kill() throws InterruptedException {
        process.destroyForcibly().waitFor();
    }

    /** Ends it and all that it started, and waits until nothing of it can write any more. */
    @Override
    public void close() {
        List<ProcessHandle> all = new ArrayList<>(descendants());
        all.add(process.toHandle());
        all.forEach(ProcessHandle::destroyForcibly);
        all.forEach(each -> each.onExit().orTimeout(20, TimeUnit.SECONDS).join());
    }

    private static String text(Path file) {
        try {
            return Files.readString(file);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
