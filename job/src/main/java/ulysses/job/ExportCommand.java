package ulysses.job;

import java.io.PrintStream;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointStore;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.export.HuggingFaceExport;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.WeightIndex;

/**
 * {@code export F|CHECKPOINT [--export_dir D]}: the Hugging Face folder of a checkpoint: of the newest complete one of the run that a
 * YAML describes, or of the folder {@code checkpoint-N} that is named. Needs neither Spark nor a GPU.
 */
final class ExportCommand {
    private static final String EXPORT_DIR = "export_dir";
    private static final long MAX_SHARD_BYTES = 5_000_000_000L; // the default of max_shard_size

    private ExportCommand() {}

    /**
     * What is exported.
     *
     * @param startedFrom folder of the model that the run started from, where it is known
     * @param warnings newer checkpoints that were passed over
     */
    private record Source(
            Checkpoint checkpoint, Optional<Folder> startedFrom, long maxShardBytes, List<String> warnings) {}

    static int run(CommandLine commandLine, Map<String, String> sparkConf, Configuration hadoop, PrintStream out) {
        CommandOptions options = CommandOptions.of(commandLine, List.of(EXPORT_DIR));
        Source source = source(options, sparkConf, hadoop);
        source.warnings().forEach(warning -> out.println("warning: " + warning));
        Checkpoint checkpoint = source.checkpoint();
        Folder target = options.text(EXPORT_DIR)
                .map(path -> Folder.at(path, hadoop))
                .orElseGet(() -> Folder.at(beside(checkpoint), hadoop));
        refuseOverlap(source, target);
        HuggingFaceExport.fromCheckpoint(checkpoint, target, source.maxShardBytes());
        describe(checkpoint, target, out);
        return 0;
    }

    private static Source source(CommandOptions options, Map<String, String> sparkConf, Configuration hadoop) {
        String named = options.rest().requireFile();
        Folder folder = Folder.at(named, hadoop);
        if (folder.exists()) {
            options.refuseKeys(List.of(EXPORT_DIR));
            return new Source(
                    Checkpoint.open(folder, Checkpoint.Check.CHECKSUMS), Optional.empty(), MAX_SHARD_BYTES, List.of());
        }
        TrainingConfig config =
                ConfigFile.load(options.rest().sources(sparkConf), hadoop).config();
        Folder root = Folder.at(config.output().checkpoints(), hadoop);
        CheckpointStore.Newest newest = new CheckpointStore(root).newest(Checkpoint.Check.CHECKSUMS);
        Checkpoint checkpoint = newest.checkpoint().orElseThrow(() -> none(root, newest.warnings()));
        return new Source(
                checkpoint,
                Optional.of(Folder.at(config.model().modelNameOrPath(), hadoop)),
                config.output().maxShardBytes(),
                newest.warnings());
    }

    private static StorageException none(Folder root, List<String> warnings) {
        String damaged = warnings.isEmpty() ? "" : " (" + String.join("; ", warnings) + ")";
        return new StorageException(
                "%s holds no complete checkpoint%s; train with save_strategy: steps first, or name a folder checkpoint-N"
                        .formatted(root.path(), damaged));
    }

    private static String beside(Checkpoint checkpoint) {
        String path = checkpoint.path();
        return path.substring(0, path.lastIndexOf('/') + 1) + "export-"
                + checkpoint.state().step();
    }

    /** An export replaces the weights that are in its folder, so those that are still needed must lie elsewhere. */
    private static void refuseOverlap(Source source, Folder target) {
        String checkpoint = source.checkpoint().path();
        if (target.path().equals(checkpoint) || target.path().startsWith(checkpoint + "/")) {
            throw overlap(target, "lies in the checkpoint itself");
        }
        source.startedFrom().filter(model -> model.path().equals(target.path())).ifPresent(model -> {
            throw overlap(target, "is the model that training started from (model_name_or_path)");
        });
    }

    private static ConfigException overlap(Folder target, String limit) {
        return new ConfigException(
                "the command line", List.of("export_dir %s %s; choose another folder".formatted(target.path(), limit)));
    }

    private static void describe(Checkpoint checkpoint, Folder target, PrintStream out) {
        out.println(String.format(
                Locale.ROOT,
                "checkpoint: %s (step %d, epoch %.2f)",
                checkpoint.path(),
                checkpoint.state().step(),
                checkpoint.state().epoch()));
        ModelDirectory model = ModelDirectory.open(target);
        try (WeightIndex weights = model.weights()) {
            out.println(String.format(
                    Locale.ROOT,
                    "model:      %s: %s, %,d parameters in %d tensors, %s",
                    target.path(),
                    model.spec().architecture(),
                    model.spec().parameterCount(),
                    weights.names().size(),
                    weights.info(ModelSpec.EMBEDDING).type().torchName()));
        }
        target.list().stream()
                .filter(file -> file.name().startsWith("model") && !file.isFolder())
                .forEach(file -> out.println("  %s  %s".formatted(file.name(), ByteSize.text(file.length()))));
        out.println("  config.json"
                + String.join(
                        "", model.companions().stream().map(name -> ", " + name).toList()));
        out.println(
                "next: load the folder with transformers' AutoModelForCausalLM, or train on with model_name_or_path: "
                        + target.path());
    }
}
