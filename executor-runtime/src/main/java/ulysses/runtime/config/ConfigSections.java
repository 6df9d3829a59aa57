package ulysses.runtime.config;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.config.TrainingConfig.Data;
import ulysses.runtime.config.TrainingConfig.EvalStrategy;
import ulysses.runtime.config.TrainingConfig.Evaluation;
import ulysses.runtime.config.TrainingConfig.Model;
import ulysses.runtime.config.TrainingConfig.Output;
import ulysses.runtime.config.TrainingConfig.Packing;
import ulysses.runtime.config.TrainingConfig.Reporting;
import ulysses.runtime.config.TrainingConfig.SaveStrategy;
import ulysses.runtime.config.TrainingConfig.StatusPage;

/** Turns checked settings into the records of a {@link TrainingConfig}, one method each. */
final class ConfigSections {
    /** Chosen, not tuned: longer waits only keep dead runs alive. */
    static final int LONGEST_WAIT_SECONDS = 3600;

    /** All names of P; checked to agree. */
    static final List<String> GROUP_SIZE_KEYS =
            List.of("sequence_parallel_size", "cp_size", "parallelism_config_sp_size");

    private static final Pattern SIZE = Pattern.compile("([0-9]+(?:\\.[0-9]+)?)\\s*(KB|MB|GB)?");

    private final Settings settings;
    private final ConfigFile.Sources sources;
    private final List<String> notes;
    private final WorkingDirectory working;

    ConfigSections(Settings settings, ConfigFile.Sources sources, List<String> notes, WorkingDirectory working) {
        this.settings = settings;
        this.working = working;
        this.sources = sources;
        this.notes = notes;
    }

    TrainingConfig config() {
        return new TrainingConfig(model(), data(), tuning(), step(), evaluation(), parallel(), output(), preference());
    }

    private Model model() {
        settings.choice("optim");
        boolean bf16 = settings.flag("bf16") || settings.flag("pure_bf16");
        return new Model(
                working.absoluteIfThere(settings.text("model_name_or_path").orElseThrow()),
                settings.text("model_revision").orElseThrow(),
                working.absolute(settings.text("cache_dir").orElse(null)),
                settings.flag("train_from_scratch"),
                bf16 ? ComputeType.BFLOAT16 : ComputeType.FLOAT32,
                settings.isGiven("rope_scaling") ? settings.choice("rope_scaling") : null,
                settings.choice("flash_attn"),
                new AttentionSettings(settings).config(),
                activationMemory());
    }

    private ActivationMemory activationMemory() {
        boolean keepsAll = settings.flag("disable_gradient_checkpointing");
        return keepsAll
                ? ActivationMemory.FULL
                : ActivationMemory.parse(settings.text("activation_memory").orElseThrow())
                        .orElse(ActivationMemory.ATTENTION);
    }

    private TuningConfig tuning() {
        return new TuningSettings(settings).config(working);
    }

    private @Nullable PreferenceConfig preference() {
        PreferenceConfig preference = new PreferenceSettings(settings).config(working);
        return tuning().stage() == TuningConfig.Stage.DPO ? preference : null;
    }

    private Data data() {
        Packing packing = packing();
        return new Data(
                settings.list("dataset"),
                settings.list("eval_dataset"),
                settings.flag("eval_on_each_dataset"),
                working.anchored(settings.text("dataset_dir").orElseThrow()),
                settings.text("template").orElse(null),
                working.absolute(settings.text("template_file").orElse(null)),
                settings.isGiven("tool_format") ? settings.choice("tool_format") : null,
                rowLength(packing),
                settings.flag("train_on_prompt"),
                settings.flag("mask_history"),
                packing,
                settings.optionalInteger("max_samples").orElse(0),
                settings.text("default_system").orElse(null),
                settings.optionalFlag("enable_thinking").orElse(null),
                settings.flag("preserve_thinking"),
                settings.flag("split_special_tokens"),
                settings.flag("literal_special_tokens"),
                settings.choice("mix_strategy"),
                settings.list("interleave_probs").stream()
                        .map(ScalarText::number)
                        .map(Optional::orElseThrow)
                        .toList(),
                settings.integer("preprocessing_batch_size"),
                settings.optionalInteger("preprocessing_num_workers").orElse(0),
                settings.flag("overwrite_cache"),
                working.absolute(settings.text("tokenized_path").orElse(null)),
                working.absolute(settings.text("prepared_dir").orElse(null)),
                settings.text("tool_date").orElseThrow());
    }

    private Packing packing() {
        boolean bestFit = settings.choice("packing_mode").equals("best_fit");
        boolean neat = settings.flag("neat_packing");
        boolean pretraining = tuning().stage() == TuningConfig.Stage.PT;
        if (!neat && !settings.optionalFlag("packing").orElse(pretraining)) {
            return Packing.NONE;
        }
        if (bestFit) {
            return Packing.BEST_FIT;
        }
        if (pretraining) {
            return Packing.LLAMAFACTORY_BLOCKS;
        }
        if (neat) {
            return Packing.LLAMAFACTORY_NEAT;
        }
        return settings.choice("packing_mode").equals("llamafactory") ? Packing.LLAMAFACTORY_MIXED : Packing.BEST_FIT;
    }

    /** LLaMA-Factory makes blocks one token shorter when packing is written out. */
    private int rowLength(Packing packing) {
        int cutoff = settings.integer("cutoff_len");
        boolean writtenOut = settings.isGiven("packing");
        return packing == Packing.LLAMAFACTORY_BLOCKS && writtenOut ? cutoff - 1 : cutoff;
    }

    private StepConfig step() {
        double warmup = settings.optionalNumber("warmup_ratio").orElseGet(() -> settings.number("warmup_steps"));
        boolean isShare = warmup < 1;
        int seed = settings.integer("seed");
        Map<String, Double> arguments = new LinkedHashMap<>();
        ScheduleRules.arguments(settings, new ArrayList<>())
                .forEach((name, value) ->
                        arguments.put(name, ScalarText.number(value).orElseThrow()));
        return new StepConfig(
                settings.integer("per_device_train_batch_size"),
                settings.integer("gradient_accumulation_steps"),
                learningRate(),
                settings.number("num_train_epochs"),
                settings.integer("max_steps") < 1 ? -1 : settings.integer("max_steps"),
                settings.choice("lr_scheduler_type"),
                arguments,
                isShare ? warmup : 0,
                isShare ? 0 : (int) warmup,
                settings.number("weight_decay"),
                settings.number("adam_beta1"),
                settings.number("adam_beta2"),
                settings.number("adam_epsilon"),
                settings.number("max_grad_norm"),
                seed,
                settings.optionalInteger("data_seed").orElse(seed),
                !settings.flag("disable_shuffling"),
                new StrategyRules(settings).config(sources, notes));
    }

    private double learningRate() {
        double rate = settings.number("learning_rate");
        double adjusted = rate * sources.learningRateFactor();
        if (adjusted != rate) {
            notes.add("--adjust-lr %s: learning_rate %s becomes %s"
                    .formatted(sources.learningRateFactor(), rate, adjusted));
        }
        return adjusted;
    }

    private Evaluation evaluation() {
        EvalStrategy strategy = EvalStrategy.valueOf(upper(settings.choice("eval_strategy")));
        return new Evaluation(
                strategy,
                settings.optionalInteger("eval_steps").orElse(settings.integer("logging_steps")),
                settings.number("val_size"),
                settings.flag("do_eval") || strategy != EvalStrategy.NO,
                settings.integer("per_device_eval_batch_size"));
    }

    private ParallelConfig parallel() {
        return new ParallelConfig(
                settings.integer("num_ranks"),
                groupSize(settings),
                device(),
                Math.min(settings.integer("ddp_timeout"), LONGEST_WAIT_SECONDS),
                settings.integer("rendezvous_timeout"),
                settings.integer("max_attempts"),
                settings.integer("max_host_failures"),
                settings.flag("elastic"),
                settings.integer("hang_timeout"),
                Integer.parseInt(settings.choice("zero_stage")),
                settings.flag("offload_optimizer"),
                settings.flag("offload_activations"),
                settings.flag("overlap_exchange"));
    }

    private ParallelConfig.Device device() {
        if (settings.flag("use_cpu")) {
            return ParallelConfig.Device.CPU;
        }
        return settings.isGiven("device")
                ? ParallelConfig.Device.valueOf(upper(settings.choice("device")))
                : sources.defaultDevice();
    }

    private Output output() {
        String resume = settings.text("resume_from_checkpoint").orElse("true");
        Optional<Boolean> switched = ScalarText.flag(resume);
        String folder = switched.equals(Optional.of(true))
                ? null
                : switched.isPresent() ? Output.NEVER_RESUME : working.anchored(resume);
        return new Output(
                working.anchored(settings.text("output_dir").orElseThrow()),
                settings.flag("overwrite_output_dir"),
                settings.integer("logging_steps"),
                SaveStrategy.valueOf(upper(settings.choice("save_strategy"))),
                settings.integer("save_steps"),
                settings.optionalInteger("save_total_limit").orElse(0),
                settings.flag("save_only_model"),
                folder,
                working.absolute(settings.text("checkpoint_dir").orElse(null)),
                settings.flag("plot_loss"),
                bytes(settings.text("max_shard_size").orElseThrow()).orElseThrow(),
                new Reporting(
                        ReportRules.trackers(settings),
                        settings.text("run_name").orElse(null),
                        working.absolute(settings.text("logging_dir").orElse(null)),
                        statusPage(),
                        settings.flag("profile"),
                        settings.text("hardware").orElse(null)),
                settings.text("date")
                        .map(date -> new TrainingConfig.Day(date, working.anchored(settings.datedOutputDir())))
                        .orElse(null));
    }

    private @Nullable StatusPage statusPage() {
        String host = settings.text("status_host").orElseThrow();
        return settings.optionalInteger("status_port")
                .map(port -> new StatusPage(host, port))
                .orElse(null);
    }

    /** The value that all names of P agree on. */
    static int groupSize(Settings settings) {
        return GROUP_SIZE_KEYS.stream()
                .filter(settings::isGiven)
                .findFirst()
                .map(settings::integer)
                .orElse(1);
    }

    /** A size with KB, MB or GB, in powers of ten as transformers counts them. */
    static Optional<Long> bytes(String text) {
        Matcher size = SIZE.matcher(text.strip().toUpperCase(Locale.ROOT));
        if (!size.matches()) {
            return Optional.empty();
        }
        String unit = size.group(2) == null ? "" : size.group(2);
        double factor = Map.of("", 1.0, "KB", 1e3, "MB", 1e6, "GB", 1e9).getOrDefault(unit, 1.0);
        long bytes = Math.round(Double.parseDouble(size.group(1)) * factor);
        return bytes > 0 ? Optional.of(bytes) : Optional.empty();
    }

    private static String upper(String choice) {
        return choice.toUpperCase(Locale.ROOT);
    }
}
