package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Every command of the first pages of README.md that runs {@code deploy/local.sh}, in its order and as it stands there but for what
 * makes it short, in an empty folder that has links to the project. Runs behind {@code package}, whose jars the script takes.
 */
final class ReadmeIT {
    private static final Path PROJECT = Path.of("..").toAbsolutePath().normalize();
    private static final String SHORT_TRAINING = " --max_steps 2 --save_steps 2 --eval_strategy no";

    @TempDir
    private Path folder;

    @Test
    void commandsOfTheReadmeRun() throws Exception {
        for (String name : List.of("conf", "deploy", "driver", "executor-runtime", "job", "pom.xml")) {
            Files.createSymbolicLink(folder.resolve(name), PROJECT.resolve(name));
        }
        Files.copy(PROJECT.resolve("conf/quickstart.yaml"), folder.resolve("my_llamafactory.yaml"));
        Files.writeString(PROJECT.resolve("job/target/built-cpu"), ""); // what lies there was built a moment ago
        List<String> commands = Files.readString(PROJECT.resolve("README.md"))
                .lines()
                .map(String::strip)
                .filter(line -> line.startsWith("deploy/local.sh "))
                .map(line -> line.replaceFirst(" +#.*", ""))
                .toList();

        assertThat(commands).hasSizeGreaterThanOrEqualTo(7);
        for (String command : commands) {
            JobRun run = run(shortened(command));

            assertThat(run.code()).as("%s%n%s%s", command, run.out(), run.err()).isZero();
            assertThat(run.out()).as(command).contains(expected(command));
        }
    }

    private static String shortened(String command) {
        if (command.contains(" conf/quickstart.yaml") && !command.contains(" plan ")) {
            return command + SHORT_TRAINING;
        }
        return command.replace("smollm2-135m --seq 4096", "tiny --seq 128 --steps 1 --warmup 0");
    }

    /** A word of what each must print. */
    private static String expected(String command) {
        return switch (command.split(" ", -1)[1]) {
            case "conf/quickstart.yaml" -> "done: 2 steps";
            case "inspect" -> "[";
            case "check-config" -> "cutoff_len";
            case "plan" -> "= peak";
            case "status" -> "done";
            case "bench" -> "tokens_per_second";
            default -> throw new AssertionError("what does " + command + " print?");
        };
    }

    private JobRun run(String command) throws IOException, InterruptedException {
        Path out = Files.createTempFile(folder, "command", ".out");
        Path err = Files.createTempFile(folder, "command", ".err");
        ProcessBuilder builder = new ProcessBuilder("bash", "-c", command)
                .directory(folder.toFile())
                .redirectOutput(out.toFile())
                .redirectError(err.toFile());
        builder.environment().keySet().removeIf(name -> name.startsWith("SPARK_") || name.startsWith("ULYSSES_"));
        Process process = builder.start();
        if (!process.waitFor(5, TimeUnit.MINUTES)) {
            process.descendants().forEach(ProcessHandle::destroyForcibly);
            process.destroyForcibly();
            throw new AssertionError("still running after 5 minutes: " + command + Files.readString(out));
        }
        return new JobRun(process.exitValue(), Files.readString(out), Files.readString(err));
    }
}
