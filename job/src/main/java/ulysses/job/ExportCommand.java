package ulysses.job;

import java.io.PrintStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.hub.ModelHub;
import ulysses.driver.tokenizer.ChatEncoder;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.driver.tokenizer.TrainedTokenizer;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointReader;
import ulysses.runtime.checkpoint.CheckpointStore;
import ulysses.runtime.checkpoint.StateTensor;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.ExportConfig;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.export.HuggingFaceExport;
import ulysses.runtime.weights.AdapterDirectory;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.FloatWeights;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.MergedWeights;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.TunedModel;
import ulysses.runtime.weights.WeightIndex;

/**
 * {@code export F|CHECKPOINT [--export_dir D]}: a Hugging Face folder. It holds the model of a checkpoint (of the newest complete one
 * of the run that a YAML describes, or of the folder {@code checkpoint-N} that is named), or what LLaMA-Factory's export YAML
 * describes: a model with adapters. Adapters are merged. Needs neither Spark nor a GPU.
 */
final class ExportCommand {
    private static final String EXPORT_DIR = "export_dir";
    private static final long MAX_SHARD_BYTES = 5_000_000_000L; // the default of max_shard_size

    private ExportCommand() {}

    /**
     * The checkpoint that is exported.
     *
     * @param run the run it belongs to, where it is known
     * @param warnings newer checkpoints that were passed over
     */
    private record Source(Checkpoint checkpoint, Optional<TrainingConfig> run, List<String> warnings) {
        long maxShardBytes() {
            return run.map(config -> config.output().maxShardBytes()).orElse(MAX_SHARD_BYTES);
        }
    }

    static int run(
            CommandLine commandLine,
            Map<String, String> sparkConf,
            Configuration hadoop,
            Map<String, String> environment,
            PrintStream out)
            throws InterruptedException {
        CommandOptions options = CommandOptions.of(commandLine, List.of(EXPORT_DIR));
        Optional<ExportConfig> described = described(options, sparkConf, hadoop);
        if (described.isPresent()) {
            merge(described.get(), new ModelFolders(environment, hadoop, out));
            return 0;
        }
        Source source = source(options, sparkConf, hadoop);
        source.warnings().forEach(warning -> out.println("warning: " + warning));
        Checkpoint checkpoint = source.checkpoint();
        Folder target = options.text(EXPORT_DIR)
                .map(path -> Folder.at(path, hadoop))
                .orElseGet(() -> Folder.at(beside(checkpoint), hadoop));
        refuseOverlap(source, target, hadoop);
        out.println(String.format(
                Locale.ROOT,
                "checkpoint: %s (step %d, epoch %.2f)",
                checkpoint.path(),
                checkpoint.state().step(),
                checkpoint.state().epoch()));
        if (checkpoint.folder().has(AdapterDirectory.CONFIG)) {
            mergeCheckpoint(source, target, new ModelFolders(environment, hadoop, out));
        } else {
            HuggingFaceExport.fromCheckpoint(checkpoint, target, source.maxShardBytes());
        }
        source.run().ifPresent(config -> TrainCommand.writeTokenizer(config, target, hadoop));
        describe(target, out);
        return 0;
    }

    /** The export that the named file describes; empty when a folder is named, or the file describes a run. */
    private static Optional<ExportConfig> described(
            CommandOptions options, Map<String, String> sparkConf, Configuration hadoop) {
        if (Folder.at(options.rest().requireFile(), hadoop).exists()) {
            return Optional.empty();
        }
        ConfigFile.Sources sources = options.rest().sources(sparkConf);
        return ConfigFile.loadExport(
                options.text(EXPORT_DIR)
                        .map(folder -> sources.with(EXPORT_DIR, folder))
                        .orElse(sources),
                hadoop);
    }

    private static void merge(ExportConfig export, ModelFolders folders) throws InterruptedException {
        Configuration hadoop = folders.hadoop();
        PrintStream out = folders.out();
        ModelHub hub = folders.hub(export.cacheDirectory());
        ModelDirectory base = ModelDirectory.open(
                hub.folder("model_name_or_path", export.modelNameOrPath(), export.revision(), ModelHub.Parts.MODEL),
                hadoop);
        Folder target = Folder.at(export.exportDir(), hadoop);
        List<AdapterDirectory> adapters = new ArrayList<>();
        for (String name : export.adapters()) {
            String folder = hub.folder("adapter_name_or_path", name, export.revision(), ModelHub.Parts.ADAPTER);
            adapters.add(AdapterDirectory.open(folder, hadoop));
        }
        adapters.stream()
                .filter(adapter -> adapter.folder().path().equals(target.path()))
                .forEach(adapter -> {
                    throw overlap(target, "is an adapter that is merged (adapter_name_or_path)");
                });
        TunedModel merged = TunedModel.merged(base.spec(), adapters);
        try (WeightIndex files = base.weights()) {
            DataType type = DataType.ofTorchName(export.type()).orElseGet(() -> storedType(base, files));
            merged.read(
                    files,
                    base.spec(),
                    type,
                    weights -> HuggingFaceExport.write(
                            base, merged.spec(), weights, type, target, export.maxShardBytes()));
        }
        adapters.forEach(
                adapter -> out.println("merged:     " + adapter.folder().path()));
        if (export.template() != null && target.has(ModelDirectory.TOKENIZER)) {
            Tokenizer tokenizer = Tokenizer.open(base.folder().path(), hadoop);
            TrainedTokenizer.write(
                    ChatEncoder.of(
                            export.template(), export.templateFile(), tokenizer, ChatEncoder.Options.DEFAULT, hadoop),
                    target);
        }
        describe(target, out);
    }

    /** Merges the adapter of a checkpoint into the model that it was trained beside. */
    private static void mergeCheckpoint(Source source, Folder target, ModelFolders folders)
            throws InterruptedException {
        Configuration hadoop = folders.hadoop();
        AdapterDirectory adapter = AdapterDirectory.open(source.checkpoint().folder());
        Optional<TrainingConfig.Model> asked = source.run().map(TrainingConfig::model);
        String model = folders.hub(
                        asked.map(TrainingConfig.Model::cacheDirectory).orElse(null))
                .folder(
                        "model_name_or_path",
                        asked.map(TrainingConfig.Model::modelNameOrPath)
                                .orElse(adapter.origin().model()),
                        asked.map(TrainingConfig.Model::revision).orElse("main"),
                        ModelHub.Parts.MODEL);
        ModelDirectory base = ModelDirectory.open(model, hadoop);
        ModelSpec spec =
                source.run().map(run -> TunedModel.shape(run, base.spec())).orElse(base.spec());
        TunedModel before = TunedModel.merged(
                spec,
                adapter.origin().merged().stream()
                        .map(path -> AdapterDirectory.open(path, hadoop))
                        .toList());
        try (WeightIndex files = base.weights();
                CheckpointReader trained = CheckpointReader.open(source.checkpoint())) {
            DataType type = storedType(base, files);
            FloatWeights tensors = (name, first, into) -> trained.readFloat32(StateTensor.MODEL, name, first, into);
            before.read(
                    files,
                    spec,
                    type,
                    weights -> HuggingFaceExport.write(
                            base,
                            MergedWeights.shape(before.spec(), adapter.spec()),
                            new MergedWeights(weights, before.spec(), adapter.spec(), tensors, type),
                            type,
                            target,
                            source.maxShardBytes()));
        }
        folders.out().println("merged:     its adapter into " + base.folder().path());
    }

    private static DataType storedType(ModelDirectory model, WeightIndex files) {
        DataType declared = model.spec().storedType();
        return declared == null ? files.info(ModelSpec.EMBEDDING).type() : declared;
    }

    private static Source source(CommandOptions options, Map<String, String> sparkConf, Configuration hadoop) {
        String named = options.rest().requireFile();
        Folder folder = Folder.at(named, hadoop);
        if (folder.exists()) {
            options.refuseKeys(List.of(EXPORT_DIR));
            return new Source(Checkpoint.open(folder, Checkpoint.Check.CHECKSUMS), Optional.empty(), List.of());
        }
        TrainingConfig config =
                ConfigFile.load(options.rest().sources(sparkConf), hadoop).config();
        Folder root = Folder.at(config.output().checkpoints(), hadoop);
        CheckpointStore.Newest newest = new CheckpointStore(root).newest(Checkpoint.Check.CHECKSUMS);
        Checkpoint checkpoint = newest.checkpoint().orElseThrow(() -> none(root, newest.warnings()));
        return new Source(checkpoint, Optional.of(config), newest.warnings());
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
    private static void refuseOverlap(Source source, Folder target, Configuration hadoop) {
        String checkpoint = source.checkpoint().path();
        if (target.path().equals(checkpoint) || target.path().startsWith(checkpoint + "/")) {
            throw overlap(target, "lies in the checkpoint itself");
        }
        source.run()
                .map(run -> Folder.at(run.model().modelNameOrPath(), hadoop))
                .filter(model -> model.path().equals(target.path()))
                .ifPresent(model -> {
                    throw overlap(target, "is the model that training started from (model_name_or_path)");
                });
    }

    private static ConfigException overlap(Folder target, String limit) {
        return new ConfigException(
                "the command line", List.of("export_dir %s %s; choose another folder".formatted(target.path(), limit)));
    }

    private static void describe(Folder target, PrintStream out) {
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
