package ulysses.runtime.config;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;

/**
 * Makes a {@link TrainingConfig} of a LLaMA-Factory YAML. Precedence: command line, then {@code spark.ulysses.*} configuration,
 * then the file, then LLaMA-Factory's default. Nothing is repaired in silence: every key is supported, ignored with a note, or
 * refused, and all problems are reported together.
 */
public final class ConfigFile {
    private ConfigFile() {}

    /**
     * Where values come from.
     *
     * @param file YAML, or JSON if so named; local path or any Hadoop path
     * @param commandLine keys given on the command line, in order; they win
     * @param sparkConf Spark's configuration; of it {@code spark.ulysses.KEY} is read, but nothing with a further dot
     * @param learningRateFactor {@code --adjust-lr}: multiplies the learning rate; 1 changes nothing
     * @param defaultDevice where ranks compute when neither {@code device} nor {@code use_cpu} is given
     * @param debug {@code --debug}: turns the original gradient strategies on where {@code gradient_strategies} says nothing
     */
    public record Sources(
            String file,
            Map<String, String> commandLine,
            Map<String, String> sparkConf,
            double learningRateFactor,
            ParallelConfig.Device defaultDevice,
            boolean debug) {
        public Sources {
            commandLine = Collections.unmodifiableMap(new LinkedHashMap<>(commandLine));
            sparkConf = Map.copyOf(sparkConf);
            if (!(learningRateFactor > 0) || Double.isInfinite(learningRateFactor)) {
                throw new IllegalArgumentException(
                        "learningRateFactor " + learningRateFactor + " must be a finite number above 0");
            }
        }

        /** Without {@code --debug}. */
        public Sources(
                String file,
                Map<String, String> commandLine,
                Map<String, String> sparkConf,
                double learningRateFactor,
                ParallelConfig.Device defaultDevice) {
            this(file, commandLine, sparkConf, learningRateFactor, defaultDevice, false);
        }

        /** A file alone, on the CPU. */
        public static Sources ofFile(String file) {
            return new Sources(file, Map.of(), Map.of(), 1, ParallelConfig.Device.CPU);
        }

        /** The same with one more key of the command line. */
        public Sources with(String key, String value) {
            Map<String, String> more = new LinkedHashMap<>(commandLine);
            more.put(key, value);
            return new Sources(file, more, sparkConf, learningRateFactor, defaultDevice, debug);
        }
    }

    /**
     * A checked configuration.
     *
     * @param notes what the user should know, one sentence each; to be logged once
     * @param keys the answer to every given key, in order; secrets are masked
     */
    public record Loaded(TrainingConfig config, List<String> notes, List<KeyReport> keys) {
        public Loaded {
            notes = List.copyOf(notes);
            keys = List.copyOf(keys);
        }
    }

    /** What happens to a key. */
    public enum Verdict {
        SUPPORTED,
        IGNORED,
        REFUSED,
        UNKNOWN
    }

    /**
     * One key that the user gave.
     *
     * @param says supported: what it does; ignored: why that is safe; refused: what to do instead; unknown: the nearest key
     */
    public record KeyReport(String key, String value, Verdict verdict, String says) {}

    /**
     * The answer to every given key.
     *
     * @param keys in the order of the file, then Spark's, then the command line's
     * @param problems all problems, those between keys included; empty if the configuration can be trained
     * @param notes what the user should know
     */
    public record Report(List<KeyReport> keys, List<String> problems, List<String> notes) {
        public Report {
            keys = List.copyOf(keys);
            problems = List.copyOf(problems);
            notes = List.copyOf(notes);
        }
    }

    /**
     * Reads and checks everything.
     *
     * @param hadoop for paths on Hadoop file systems
     * @throws ConfigException with all problems
     */
    public static Loaded load(Sources sources, Configuration hadoop) {
        ConfigReading reading = sound(sources, hadoop);
        if (ExportConfig.isDescribedBy(reading.settings())) {
            throw new ConfigException(
                    sources.file(),
                    List.of(
                            "output_dir is missing and export_dir is given, so this file describes an export; use the export command, or set output_dir to train"));
        }
        List<String> notes = new ArrayList<>(reading.notes());
        TrainingConfig config =
                new ConfigSections(reading.settings(), sources, notes, new WorkingDirectory(hadoop)).config();
        return new Loaded(config, notes, reading.reports());
    }

    /**
     * Reads and checks the description of an export; empty when the file describes a run.
     *
     * @param hadoop for paths on Hadoop file systems
     * @throws ConfigException with all problems
     */
    public static Optional<ExportConfig> loadExport(Sources sources, Configuration hadoop) {
        Settings settings = sound(sources, hadoop).settings();
        return ExportConfig.isDescribedBy(settings)
                ? Optional.of(ExportConfig.of(settings, new WorkingDirectory(hadoop)))
                : Optional.empty();
    }

    private static ConfigReading sound(Sources sources, Configuration hadoop) {
        ConfigReading reading = ConfigReading.of(sources, hadoop);
        if (!reading.problems().isEmpty()) {
            throw new ConfigException(sources.file(), reading.problems());
        }
        return reading;
    }

    /**
     * Says what would happen to each given key, without failing at a refused one.
     *
     * @throws ConfigException if the file can't be read as a mapping at all
     */
    public static Report check(Sources sources, Configuration hadoop) {
        ConfigReading reading = ConfigReading.of(sources, hadoop);
        return new Report(reading.reports(), reading.problems(), reading.notes());
    }
}
