package ulysses.job;

import java.io.PrintStream;
import java.time.Instant;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.report.RunStatus;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.weights.Folder;

/**
 * {@code status TARGET [--json]}: how far a run is. TARGET is its {@code output_dir}, or its YAML. Reads files only, so it works from
 * any machine that sees them, while the run goes on, after its end, or after it was killed.
 */
final class StatusCommand {
    private static final String AS_JSON = "json";

    private StatusCommand() {}

    static int run(CommandLine commandLine, Map<String, String> sparkConf, Configuration hadoop, PrintStream out) {
        CommandOptions options = CommandOptions.of(commandLine, List.of(AS_JSON));
        if (commandLine.file() == null) {
            throw new ConfigException(
                    "the command line", List.of("status needs a run to look at; name its output_dir or its YAML"));
        }
        Folder output = Folder.at(commandLine.file(), hadoop);
        if (!output.exists()) {
            output = Folder.at(
                    ConfigFile.load(options.rest().sources(sparkConf), hadoop)
                            .config()
                            .output()
                            .outputDir(),
                    hadoop);
        } else {
            options.refuseKeys(List.of(AS_JSON));
        }
        String path = output.path();
        RunStatus status = RunStatus.read(output, hadoop, Instant.now())
                .orElseThrow(() -> new ConfigException(
                        "status",
                        List.of(
                                "%s holds no run_events.jsonl, so no run of ours wrote there; name the output_dir of a run"
                                        .formatted(path))));
        if (options.flag(AS_JSON)) {
            out.println(status.json());
        } else {
            out.println("run in " + path);
            status.lines().forEach(out::println);
        }
        return 0;
    }
}
