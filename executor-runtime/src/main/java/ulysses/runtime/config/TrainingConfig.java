package ulysses.runtime.config;

import com.fasterxml.jackson.annotation.JsonIgnoreProperties;
import java.util.List;
import org.jspecify.annotations.Nullable;

/**
 * One run, complete and checked: what {@link ConfigFile} makes of a YAML, and the only configuration passed to a rank. Every
 * component is named after the LLaMA-Factory key it comes from; keys of ours are marked so in conf/README.md.
 *
 * @param model the model to start from
 * @param data datasets, template and packing
 * @param tuning stage and which parameters are trained
 * @param step batch sizes, optimizer, schedule
 * @param evaluation when and on what to evaluate
 * @param parallel ranks and groups
 * @param output folders, logging and checkpoints
 * @param preference preference training; null unless the stage is dpo
 */
public record TrainingConfig(
        Model model,
        Data data,
        TuningConfig tuning,
        StepConfig step,
        Evaluation evaluation,
        ParallelConfig parallel,
        Output output,
        @Nullable PreferenceConfig preference) {

    /** Tokens that one row can hold: {@code cutoff_len}, and that for each answer of a pair. */
    public int rowTokens() {
        return tuning().stage() == TuningConfig.Stage.DPO
                ? Math.multiplyExact(2, data().cutoffLength())
                : data().cutoffLength();
    }

    /** The same run from another model. */
    public TrainingConfig withModel(Model other) {
        return new TrainingConfig(other, data, tuning, step, evaluation, parallel, output, preference);
    }

    /** The same run with another tuning. */
    public TrainingConfig withTuning(TuningConfig other) {
        return new TrainingConfig(model, data, other, step, evaluation, parallel, output, preference);
    }

    /** The same run with other steps. */
    public TrainingConfig withStep(StepConfig other) {
        return new TrainingConfig(model, data, tuning, other, evaluation, parallel, output, preference);
    }

    /** The same run with other preferences. */
    public TrainingConfig withPreference(PreferenceConfig other) {
        return new TrainingConfig(model, data, tuning, step, evaluation, parallel, output, other);
    }

    /** One line of JSON, for rank processes; {@link #fromJson} is the inverse. */
    public String toJson() {
        return ConfigJson.write(this);
    }

    /**
     * The inverse of {@link #toJson}.
     *
     * @throws IllegalArgumentException if it isn't what that writes
     */
    public static TrainingConfig fromJson(String json) {
        return ConfigJson.read(json);
    }

    /**
     * SHA-256 over what decides the content of prepared rows: data, stage, validation size and seed. Left out are the number of
     * workers, folders of prepared rows, and the content of tokenizer and data files, which have fingerprints of their own.
     *
     * @return 64 hexadecimal digits
     */
    public String dataFingerprint() {
        return ConfigJson.dataFingerprint(this);
    }

    /** How weights are held for compute; master weights and optimizer states are always float32. */
    public enum ComputeType {
        FLOAT32,
        BFLOAT16
    }

    /** How examples become rows of {@code cutoff_len} tokens. */
    public enum Packing {
        /** One example a row, as LLaMA-Factory's sft without packing. */
        NONE,
        /** Best fit per hash bucket, documents isolated: ours, for {@code packing: true}. */
        BEST_FIT,
        /** LLaMA-Factory's {@code neat_packing}: its greedy knapsack per 1000 examples, documents isolated. */
        LLAMAFACTORY_NEAT,
        /** LLaMA-Factory's {@code packing: true} as it is: attention crosses documents; only on explicit wish. */
        LLAMAFACTORY_MIXED,
        /** LLaMA-Factory's pretraining: texts joined per 1000, cut into blocks, the rest of each batch dropped. */
        LLAMAFACTORY_BLOCKS
    }

    /**
     * What becomes of the model's attention; the same for documents of any length, since places count from a document's start.
     *
     * @param window {@code attention_window} (ours): keys that a query of any layer sees, itself included; 0 keeps config.json's
     * @param sinks {@code attention_sinks} (ours): first tokens of a document that every query of a layer with a window sees too
     * @param blocks {@code attention_block_pattern} (ours): patterns in the place of the model's, layer by layer, starting again
     *     after the last one
     */
    public record Attention(int window, int sinks, List<AttentionPattern> blocks) {
        /** As config.json has it. */
        public static final Attention OF_THE_MODEL = new Attention(0, 0, List.of());

        public Attention {
            blocks = List.copyOf(blocks);
        }

        /** The pattern of layer {@code layer}, where the model's is {@code stored}. */
        public AttentionPattern of(int layer, AttentionPattern stored) {
            if (!blocks.isEmpty()) {
                return blocks.get(layer % blocks.size());
            }
            return (window == 0 ? stored : AttentionPattern.window(window)).withSinks(sinks);
        }
    }

    /**
     * The model to start from.
     *
     * @param modelNameOrPath {@code model_name_or_path}: folder on local disk or any Hadoop file system, or an id of the Hugging Face hub
     * @param revision {@code model_revision}: branch, tag or commit at the hub
     * @param cacheDirectory {@code cache_dir}: where what the hub holds is kept; null means the hub's own cache of this user
     * @param trainFromScratch {@code train_from_scratch}: random weights from config.json, with the seed of the run
     * @param computeType {@code bf16}: false is float32
     * @param ropeScaling {@code rope_scaling}: linear, dynamic, yarn or llama3; null keeps config.json's
     * @param flashAttention {@code flash_attn}: auto, disabled, sdpa, fa2; all give the same numbers here
     * @param attention which keys queries see, where that is not left to config.json
     * @param activationMemory what layers keep for backward; everything with {@code disable_gradient_checkpointing}
     */
    public record Model(
            String modelNameOrPath,
            String revision,
            @Nullable String cacheDirectory,
            boolean trainFromScratch,
            ComputeType computeType,
            @Nullable String ropeScaling,
            String flashAttention,
            Attention attention,
            ActivationMemory activationMemory) {

        /** The same model, in {@code folder}. */
        public Model at(String folder) {
            return at(folder, trainFromScratch);
        }

        /** The same model with the weights that {@code folder} holds. */
        public Model trainedIn(String folder) {
            return at(folder, false);
        }

        private Model at(String folder, boolean fromScratch) {
            return new Model(
                    folder,
                    revision,
                    cacheDirectory,
                    fromScratch,
                    computeType,
                    ropeScaling,
                    flashAttention,
                    attention,
                    activationMemory);
        }
    }

    /**
     * Datasets, template and packing.
     *
     * @param dataset {@code dataset}: names in dataset_info.json, in order
     * @param evalDataset {@code eval_dataset}
     * @param evalOnEachDataset {@code eval_on_each_dataset}: each of them gives a loss of its own
     * @param datasetDir {@code dataset_dir}: folder of dataset_info.json
     * @param template {@code template}; null means the tokenizer's own chat template, taken apart as LLaMA-Factory does
     * @param templateFile {@code template_file} (ours): a file with more templates; null means none
     * @param toolFormat {@code tool_format}; null means the template's
     * @param cutoffLength {@code cutoff_len}: tokens a row
     * @param trainOnPrompt {@code train_on_prompt}
     * @param maskHistory {@code mask_history}
     * @param packing how rows are made
     * @param maxSamples {@code max_samples}: first n rows of each dataset; 0 means all
     * @param defaultSystem {@code default_system}; null means the template's
     * @param enableThinking {@code enable_thinking}: true, false or null (no thoughts, in the prompt)
     * @param preserveThinking {@code preserve_thinking}
     * @param splitSpecialTokens {@code split_special_tokens}
     * @param literalSpecialTokens {@code literal_special_tokens} (ours): special tokens written in data are ordinary text
     * @param mixStrategy {@code mix_strategy}: concat, interleave_under, interleave_over, interleave_once
     * @param interleaveProbabilities {@code interleave_probs}
     * @param preprocessingBatchSize {@code preprocessing_batch_size}: examples of one LLaMA-Factory packing batch
     * @param workers {@code preprocessing_num_workers}: Spark partitions for preparing; 0 means Spark's default
     * @param overwriteCache {@code overwrite_cache}: prepare again although a prepared set is there
     * @param tokenizedPath {@code tokenized_path}: a prepared folder of ours or of {@code datasets.save_to_disk}
     * @param preparedDirectory {@code prepared_dir} (ours): where prepared rows go; null means {@code output_dir/prepared}
     * @param toolDate {@code tool_date} (ours): the date that llama3's tool prompt shows
     */
    public record Data(
            List<String> dataset,
            List<String> evalDataset,
            boolean evalOnEachDataset,
            String datasetDir,
            @Nullable String template,
            @Nullable String templateFile,
            @Nullable String toolFormat,
            int cutoffLength,
            boolean trainOnPrompt,
            boolean maskHistory,
            Packing packing,
            int maxSamples,
            @Nullable String defaultSystem,
            @Nullable Boolean enableThinking,
            boolean preserveThinking,
            boolean splitSpecialTokens,
            boolean literalSpecialTokens,
            String mixStrategy,
            List<Double> interleaveProbabilities,
            int preprocessingBatchSize,
            int workers,
            boolean overwriteCache,
            @Nullable String tokenizedPath,
            @Nullable String preparedDirectory,
            String toolDate) {
        public Data {
            dataset = List.copyOf(dataset);
            evalDataset = List.copyOf(evalDataset);
            interleaveProbabilities = List.copyOf(interleaveProbabilities);
        }
    }

    /** When to evaluate. */
    public enum EvalStrategy {
        NO,
        STEPS,
        EPOCH
    }

    /**
     * When and on what to evaluate.
     *
     * @param strategy {@code eval_strategy}
     * @param steps {@code eval_steps}: steps between evaluations
     * @param validationSize {@code val_size}: a fraction below 1, or a number of rows; 0 means none
     * @param doEval {@code do_eval}: evaluate once at the end
     * @param rowsPerRank {@code per_device_eval_batch_size}
     */
    public record Evaluation(
            EvalStrategy strategy, int steps, double validationSize, boolean doEval, int rowsPerRank) {}

    /** When to write a checkpoint. */
    public enum SaveStrategy {
        NO,
        STEPS,
        EPOCH
    }

    /**
     * Folders, logging and checkpoints.
     *
     * @param outputDir {@code output_dir}: the Hugging Face folder, logs and checkpoints; any Hadoop file system
     * @param overwriteOutputDir {@code overwrite_output_dir}
     * @param loggingSteps {@code logging_steps}
     * @param saveStrategy {@code save_strategy}
     * @param saveSteps {@code save_steps}
     * @param saveTotalLimit {@code save_total_limit}: 0 keeps all
     * @param saveOnlyModel {@code save_only_model}
     * @param resumeFromCheckpoint {@code resume_from_checkpoint}: a folder; null means the newest complete one, if any; {@link
     *     #NEVER_RESUME} means that none may be there
     * @param checkpointDirectory {@code checkpoint_dir} (ours); null means {@code output_dir}
     * @param plotLoss {@code plot_loss}
     * @param maxShardBytes {@code max_shard_size} (ours, 5 GB): weight files larger than this are split
     * @param reporting where the run is reported besides its own files
     * @param day of a run that is scheduled for every day; null for all others
     */
    @JsonIgnoreProperties(ignoreUnknown = true)
    public record Output(
            String outputDir,
            boolean overwriteOutputDir,
            int loggingSteps,
            SaveStrategy saveStrategy,
            int saveSteps,
            int saveTotalLimit,
            boolean saveOnlyModel,
            @Nullable String resumeFromCheckpoint,
            @Nullable String checkpointDirectory,
            boolean plotLoss,
            long maxShardBytes,
            Reporting reporting,
            @Nullable Day day) {

        /** {@code resume_from_checkpoint: false}. */
        public static final String NEVER_RESUME = "false";

        /** Whether what an earlier run left there is replaced: {@code overwrite_output_dir}. */
        public boolean startsAnew() {
            return overwriteOutputDir;
        }

        /** The folder that holds {@code checkpoint-N}. */
        public String checkpoints() {
            return checkpointDirectory == null ? outputDir : checkpointDirectory;
        }
    }

    /** A service that follows runs. */
    public enum Tracker {
        TENSORBOARD,
        MLFLOW
    }

    /**
     * Where the run is reported besides its own files.
     *
     * @param trackers {@code report_to}
     * @param runName {@code run_name}; null means the last part of {@code output_dir}
     * @param loggingDirectory {@code logging_dir}: folder of TensorBoard's event files; null means a new folder in {@code
     *     output_dir/runs}
     * @param statusPage {@code status_port} and {@code status_host} (ours); null means no page
     * @param profile {@code profile} (ours): whether ranks record one step
     * @param hardware {@code hardware} (ours): entry of hardware.yaml that ranks run on; null means not told
     */
    public record Reporting(
            List<Tracker> trackers,
            @Nullable String runName,
            @Nullable String loggingDirectory,
            @Nullable StatusPage statusPage,
            boolean profile,
            @Nullable String hardware) {
        /** Nowhere. */
        public static final Reporting NONE = new Reporting(List.of(), null, null, null, false, null);

        public Reporting {
            trackers = List.copyOf(trackers);
        }
    }

    /**
     * Where the driver shows the run while it goes on.
     *
     * @param host the address it listens at
     * @param port 0 takes any free one
     */
    public record StatusPage(String host, int port) {}

    /**
     * The day of a scheduled run.
     *
     * @param date {@code date} (ours), ISO 8601
     * @param outputDir {@code output_dir} with {@link #NAME} in it
     */
    public record Day(String date, String outputDir) {
        /** What stands for the date in values. */
        public static final String NAME = "{date}";
    }
}
