package ulysses.job;

import java.io.PrintStream;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import ulysses.driver.hub.ModelHub;
import ulysses.driver.packing.PrepareDataset;
import ulysses.driver.packing.PreparedData;
import ulysses.driver.report.EarlierDays;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.TrainingConfig;

/** {@code prepare}: data sets to packed rows, then stops. */
final class PrepareCommand {

    private PrepareCommand() {}

    static int run(
            CommandLine commandLine,
            SparkConf conf,
            Configuration hadoop,
            Map<String, String> environment,
            PrintStream out)
            throws InterruptedException {
        TrainingConfig config = new ModelFolders(environment, hadoop, out)
                .in(load(commandLine, conf, hadoop, out).config(), ModelHub.Parts.MODEL_WITHOUT_WEIGHTS);
        try (JobSession session = JobSession.open(conf, "ulysses prepare", config.parallel(), out)) {
            prepare(session, config, hadoop, out);
            return 0;
        }
    }

    /** Reads the configuration and prints its notes. */
    static ConfigFile.Loaded load(CommandLine commandLine, SparkConf conf, Configuration hadoop, PrintStream out) {
        ConfigFile.Loaded loaded = ConfigFile.load(commandLine.sources(Main.settings(conf)), hadoop);
        loaded.notes().forEach(note -> out.println("note: " + note));
        return afterEarlierDays(loaded, hadoop, out);
    }

    /** The run of a day goes on from the newest earlier day that is done. */
    private static ConfigFile.Loaded afterEarlierDays(ConfigFile.Loaded loaded, Configuration hadoop, PrintStream out) {
        TrainingConfig.Day day = loaded.config().output().day();
        if (day == null) {
            return loaded;
        }
        Optional<String> earlier = new EarlierDays(day, hadoop).newest();
        out.println("day %s: %s"
                .formatted(
                        day.date(),
                        earlier.map(folder -> "goes on from " + folder)
                                .orElse("no earlier day is done, so it begins with what the configuration names")));
        return new ConfigFile.Loaded(
                earlier.map(folder -> EarlierDays.after(folder, loaded.config()))
                        .orElse(loaded.config()),
                loaded.notes(),
                loaded.keys());
    }

    /** Prepares the rows of {@code config}, or finds them, and says what there is. */
    static PreparedData prepare(JobSession session, TrainingConfig config, Configuration hadoop, PrintStream out) {
        session.context().setJobGroup("prepare", "read, tokenize and pack", true);
        long begin = System.nanoTime();
        PreparedData data = PrepareDataset.tokenized(session.spark(), config)
                .orElseGet(() -> PrepareDataset.prepare(
                        session.spark(), config, Tokenizer.open(config.model().modelNameOrPath(), hadoop)));
        session.context().clearJobGroup();
        out.println((data.reused() ? "found prepared rows: " : "prepared rows: ") + data.trainPath());
        double seconds = (System.nanoTime() - begin) / 1e9;
        data.report().ifPresent(report -> {
            out.println("  training: " + report.train().summary());
            if (!data.reused()) {
                out.println("  in %.1f s: %,.0f tokens/s".formatted(seconds, report.tokens() / seconds));
            }
            report.eval().forEach((name, set) -> out.println("  %s: %s".formatted(name, set.summary())));
        });
        return data;
    }
}
