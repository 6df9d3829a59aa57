package ulysses.job;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.launch.ScratchDirectory;
import ulysses.driver.report.BenchPage;

/**
 * {@code bench}: times training steps on random tokens with the processes that train, over lengths and settings, and prints one JSON
 * object for each; with {@code --output} it writes a page of them too, and with {@code --longest_in} it looks for the longest sequence
 * instead. Nothing else is kept.
 */
final class BenchCommand {

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final double GIB = 1L << 30;

    private final BenchSettings settings;
    private final Configuration hadoop;
    private final PrintStream out;
    private final List<BenchRun.Result> results = new ArrayList<>();

    private BenchCommand(BenchSettings settings, Configuration hadoop, PrintStream out) {
        this.settings = settings;
        this.hadoop = hadoop;
        this.out = out;
    }

    static int run(CommandLine commandLine, Configuration hadoop, PrintStream out)
            throws IOException, InterruptedException {
        new BenchCommand(BenchSettings.of(commandLine), hadoop, out).run();
        return 0;
    }

    private void run() throws IOException, InterruptedException {
        for (BenchSettings.Setting setting : settings.settings()) {
            if (settings.longestInBytes() > 0) {
                longest(setting);
            } else {
                for (int length : settings.lengths()) {
                    measure(setting, length);
                }
            }
        }
        if (!settings.output().isEmpty()) {
            write(Path.of(settings.output()));
        }
    }

    private void longest(BenchSettings.Setting setting) throws IOException, InterruptedException {
        LongestLength search =
                new LongestLength(settings.longestInBytes(), settings.lengths().get(0), setting.ranks());
        int longest = search.find(
                length -> setting.ranks() * measure(setting, length).step().peakBytes());
        out.println(String.format(
                Locale.ROOT,
                "longest in %.2f GiB (%s): %s",
                settings.longestInBytes() / GIB,
                setting.label(),
                longest == 0
                        ? "not even %d tokens".formatted(settings.lengths().get(0))
                        : "%d tokens".formatted(longest)));
    }

    private BenchRun.Result measure(BenchSettings.Setting setting, int length)
            throws IOException, InterruptedException {
        try (ScratchDirectory scratch = ScratchDirectory.temporary("ulysses-bench")) {
            BenchRun.Result result =
                    new BenchRun(settings, setting, scratch.path(), hadoop, System.err).measure(length);
            out.println(JSON.writerWithDefaultPrettyPrinter().writeValueAsString(result.json()));
            results.add(result);
            return result;
        }
    }

    private void write(Path folder) throws IOException {
        Files.createDirectories(folder);
        ArrayNode all = JSON.createArrayNode();
        results.forEach(result -> all.add(result.json()));
        Files.write(
                folder.resolve("bench.json"),
                JSON.writerWithDefaultPrettyPrinter().writeValueAsBytes(all));
        ObjectNode first = results.get(0).json();
        String title = "%s, %s, %s, %d threads a rank"
                .formatted(
                        settings.shape(),
                        first.path("dtype").asText(),
                        first.path("device").asText(),
                        settings.threads());
        List<BenchPage.Step> steps = results.stream()
                .map(BenchRun.Result::step)
                .sorted(Comparator.comparing(BenchPage.Step::setting).thenComparing(BenchPage.Step::tokens))
                .toList();
        Files.writeString(folder.resolve(BenchPage.FILE), new BenchPage(title, steps).html());
        out.println("page: " + folder.resolve(BenchPage.FILE));
    }
}
