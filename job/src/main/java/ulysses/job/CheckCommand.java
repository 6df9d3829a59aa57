package ulysses.job;

import java.io.PrintStream;
import java.util.Locale;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.ConfigFile.KeyReport;
import ulysses.runtime.config.ConfigFile.Report;

/** {@code check-config}: every key of a file with its answer, then what does not fit together. */
final class CheckCommand {
    /** What the process ends with when the configuration can't be trained. */
    static final int BAD_CONFIG = 2;

    private CheckCommand() {}

    /**
     * Prints one line a key, the notes and the problems.
     *
     * @return 0 if the configuration can be trained, else {@link #BAD_CONFIG}
     */
    static int run(CommandLine commandLine, Map<String, String> sparkConf, Configuration hadoop, PrintStream out) {
        Report report = ConfigFile.check(commandLine.sources(sparkConf), hadoop);
        int width = report.keys().stream()
                .mapToInt(key -> key.key().length() + key.value().length() + 1)
                .max()
                .orElse(0);
        for (KeyReport key : report.keys()) {
            String verdict = key.verdict().name().toLowerCase(Locale.ROOT);
            String keyAndValue = key.key() + " " + key.value();
            out.println(String.format(
                    Locale.ROOT,
                    "%-9s  %-" + Math.max(1, Math.min(width, 48)) + "s  %s",
                    verdict,
                    keyAndValue,
                    key.says()));
        }
        report.notes().forEach(note -> out.println("note       " + note));
        report.problems().forEach(problem -> out.println("problem    " + problem));
        if (report.problems().isEmpty()) {
            out.println(commandLine.requireFile() + " can be trained");
            return 0;
        }
        out.println("%s can't be trained: %d %s"
                .formatted(
                        commandLine.requireFile(),
                        report.problems().size(),
                        report.problems().size() == 1 ? "problem" : "problems"));
        return BAD_CONFIG;
    }
}
