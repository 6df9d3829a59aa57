package ulysses.job;

import java.util.Arrays;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.ParallelConfig.Device;

/**
 * What the user typed: {@code [COMMAND] --config_file F [--debug] [--adjust-lr [X]] [--key value | --key=value | key=value ...]},
 * or LLaMA-Factory's {@code train F key=value ...}. Keys are not looked at here; {@link ConfigFile} knows them.
 *
 * @param command train when none is named
 * @param file the configuration file, or what another command works on; null if none is given
 * @param overrides keys and values in order; of a key given twice the last counts
 * @param debug {@code --debug}: log more, and turn the original gradient strategies on
 * @param learningRateFactor {@code --adjust-lr}, or ULYSSES_ADJUST_LR; 1 changes nothing
 */
public record CommandLine(
        Command command,
        @Nullable String file,
        Map<String, String> overrides,
        boolean debug,
        double learningRateFactor) {

    /** The environment variable that stands in for {@code --adjust-lr}. */
    public static final String ADJUST_LR_VARIABLE = "ULYSSES_ADJUST_LR";

    /** What the help command prints. */
    public static final String HELP = """
            Ulysses on Spark fine-tunes language models on long sequences.

              [COMMAND] --config_file FILE [--debug] [--adjust-lr [X]] [--key value | --key=value | key=value ...]

            Commands
              train         prepare the data if needed, train, export; what happens when no command is named
              prepare       prepare the data, then stop
              plan          say what a run will need, without starting it; --hardware NAME, of conf/hardware.yaml
              check-config  say for every key of FILE whether it is supported, ignored or refused
              export        write the Hugging Face folder of a checkpoint: the newest of FILE, or a folder checkpoint-N;
                            --export_dir DIR says where
              inspect       show prepared rows (of FILE, or in a folder) with trained tokens marked, or what a folder
                            checkpoint-N holds; --from ROW, --rows N, --tokenizer DIR, --full
              status        say how far the run of FILE, or the one that writes to a folder, is; --json for scripts
              bench         time training steps on random tokens
              help          show this text

            Options
              --config_file FILE  YAML of LLaMA-Factory, local or on any Hadoop file system; FILE alone works too
              --debug             log more, and turn the original project's gradient strategies on (not if FILE says which)
              --adjust-lr [X]     multiply the learning rate by X (1 when X is left out); also ULYSSES_ADJUST_LR
              --key value         any key of FILE; conf/README.md lists them all
            """;

    /** What to do. */
    public enum Command {
        TRAIN,
        PREPARE,
        PLAN,
        CHECK_CONFIG,
        EXPORT,
        INSPECT,
        STATUS,
        BENCH,
        HELP;

        /** The word that is typed. */
        public String word() {
            return name().toLowerCase(Locale.ROOT).replace('_', '-');
        }

        boolean needsFile() {
            return this == TRAIN || this == PREPARE || this == PLAN || this == CHECK_CONFIG || this == EXPORT;
        }

        /** Options that take no value, so that what stands behind them is something else. */
        Set<String> flags() {
            return this == STATUS ? Set.of("json") : this == INSPECT ? Set.of("full") : Set.of();
        }

        static String words() {
            return Arrays.stream(values()).map(Command::word).collect(Collectors.joining(", "));
        }
    }

    public CommandLine {
        overrides = Collections.unmodifiableMap(new LinkedHashMap<>(overrides));
    }

    /**
     * Reads a command line.
     *
     * @param environment for {@link #ADJUST_LR_VARIABLE}; the option wins
     * @throws ConfigException with all problems
     */
    public static CommandLine parse(List<String> arguments, Map<String, String> environment) {
        return new CommandLineParser(arguments, environment).parse();
    }

    /** The file of a command that can't do without one. */
    public String requireFile() {
        if (file == null) {
            throw new IllegalStateException(command.word() + " was parsed without a file");
        }
        return file;
    }

    /**
     * Where the configuration comes from. Ranks compute on GPUs by default exactly when Spark gives tasks or executors any.
     *
     * @param sparkConf Spark's whole configuration
     */
    public ConfigFile.Sources sources(Map<String, String> sparkConf) {
        boolean gpus = sparkConf.entrySet().stream()
                .anyMatch(entry -> entry.getKey().matches("spark\\.(executor|task)\\.resource\\.gpu\\.amount")
                        && !entry.getValue().equals("0"));
        return new ConfigFile.Sources(
                requireFile(), overrides, sparkConf, learningRateFactor, gpus ? Device.CUDA : Device.CPU, debug);
    }
}
