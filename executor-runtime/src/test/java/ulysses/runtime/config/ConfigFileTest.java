package ulysses.runtime.config;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.config.ConfigFile.Loaded;
import ulysses.runtime.config.ConfigFile.Sources;
import ulysses.runtime.config.ConfigFile.Verdict;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.config.TrainingConfig.EvalStrategy;
import ulysses.runtime.config.TrainingConfig.Packing;
import ulysses.runtime.config.TrainingConfig.SaveStrategy;

class ConfigFileTest {
    static final String SMALLEST = """
            model_name_or_path: model
            finetuning_type: full
            dataset: identity
            output_dir: out
            """;

    @TempDir
    Path folder;

    /** Relative paths become those of the working directory, since ranks have others. */
    private static String here(String path) {
        return Path.of(path).toAbsolutePath().toString();
    }

    @Test
    void defaultsAreThoseOfLlamaFactory() {
        TrainingConfig config = load(SMALLEST).config();

        assertThat(config.step())
                .isEqualTo(new StepConfig(
                        8, 1, 5e-5, 3, -1, "linear", Map.of(), 0, 0, 0, 0.9, 0.999, 1e-8, 1, 42, 42, true));
        assertThat(config.model())
                .isEqualTo(new TrainingConfig.Model(
                        "model",
                        "main",
                        null,
                        false,
                        ComputeType.FLOAT32,
                        null,
                        "auto",
                        TrainingConfig.Attention.OF_THE_MODEL,
                        ActivationMemory.ATTENTION));
        assertThat(config.data().cutoffLength()).isEqualTo(2048);
        assertThat(config.data().datasetDir()).isEqualTo(here("data"));
        assertThat(config.data().enableThinking()).isTrue();
        assertThat(config.data().packing()).isEqualTo(Packing.NONE);
        assertThat(config.data().preprocessingBatchSize()).isEqualTo(1000);
        assertThat(config.tuning()).isEqualTo(new TuningConfig.Full(TuningConfig.Stage.SFT));
        assertThat(config.evaluation()).isEqualTo(new TrainingConfig.Evaluation(EvalStrategy.NO, 500, 0, false, 8));
        assertThat(config.parallel())
                .isEqualTo(new ParallelConfig(0, 1, Device.CPU, 1800, 600, 3, 2, false, 1800, 0, false, false, true));
        assertThat(config.output())
                .isEqualTo(new TrainingConfig.Output(
                        here("out"),
                        false,
                        500,
                        SaveStrategy.STEPS,
                        500,
                        0,
                        false,
                        null,
                        null,
                        false,
                        5_000_000_000L,
                        TrainingConfig.Reporting.NONE,
                        null));
    }

    @Test
    void commandLineWinsOverSparkWinsOverFile() {
        String file = write(folder, SMALLEST + "seed: 1\nmax_steps: 1\nlogging_steps: 1\n");
        Map<String, String> spark = Map.of(
                "spark.ulysses.max_steps", "2",
                "spark.ulysses.logging_steps", "2",
                "spark.ulysses.network.allowPlaintext", "true",
                "spark.master", "local");
        Sources sources = new Sources(file, Map.of("logging_steps", "3"), spark, 1, Device.CPU);

        TrainingConfig config =
                ConfigFile.load(sources, new Configuration(false)).config();

        assertThat(config.step().seed()).isEqualTo(1);
        assertThat(config.step().maxSteps()).isEqualTo(2);
        assertThat(config.output().loggingSteps()).isEqualTo(3);
    }

    @ParameterizedTest
    @ValueSource(strings = {"1e-4", "1.0e-4", "0.0001", "'1e-4'", "1E-4", ".0001", "0.000_1"})
    void numbersMayBeWrittenInEveryWay(String written) {
        TrainingConfig config = load(SMALLEST + "learning_rate: " + written).config();

        assertThat(config.step().learningRate()).isEqualTo(1e-4);
    }

    @ParameterizedTest
    @ValueSource(strings = {"no", "'no'", "\"no\"", "off", "false", "No"})
    void offIsAStrategyHoweverYamlReadsIt(String written) {
        TrainingConfig config = load(SMALLEST + "save_strategy: " + written + "\neval_strategy: " + written)
                .config();

        assertThat(config.output().saveStrategy()).isEqualTo(SaveStrategy.NO);
        assertThat(config.evaluation().strategy()).isEqualTo(EvalStrategy.NO);
    }

    @ParameterizedTest
    @CsvSource(delimiter = '|', textBlock = """
            stage: sft |                                           | NONE                | 512
            stage: sft | packing: false                            | NONE                | 512
            stage: sft | packing: true                             | BEST_FIT            | 512
            stage: sft | neat_packing: true                        | LLAMAFACTORY_NEAT   | 512
            stage: sft | {packing: true, neat_packing: true}       | LLAMAFACTORY_NEAT   | 512
            stage: sft | {neat_packing: true, packing_mode: best_fit} | BEST_FIT         | 512
            stage: dpo |                                           | NONE                | 512
            stage: dpo | packing: true                             | BEST_FIT            | 512
            stage: pt  |                                           | LLAMAFACTORY_BLOCKS | 512
            stage: pt  | packing: null                             | LLAMAFACTORY_BLOCKS | 512
            stage: pt  | packing: true                             | LLAMAFACTORY_BLOCKS | 511
            stage: pt  | packing: false                            | NONE                | 512
            stage: sft | {packing: true, packing_mode: llamafactory} | LLAMAFACTORY_MIXED | 512
            stage: pt  | packing_mode: best_fit                    | BEST_FIT            | 512
            stage: pt  | {packing: true, packing_mode: best_fit}   | BEST_FIT            | 512
            stage: pt  | packing_mode: llamafactory                | LLAMAFACTORY_BLOCKS | 512
            """)
    void packingFollowsStageAndKeys(String stage, String keys, Packing packing, int length) {
        String more = keys == null ? "" : keys.replaceAll("[{}]", "").replace(", ", "\n");

        TrainingConfig.Data data = load(SMALLEST + "cutoff_len: 512\n" + stage + "\n" + more)
                .config()
                .data();

        assertThat(data.packing()).isEqualTo(packing);
        assertThat(data.cutoffLength()).isEqualTo(length);
    }

    @ParameterizedTest
    @CsvSource({
        "warmup_steps: 0.1, 0.1, 0",
        "warmup_ratio: 0.2, 0.2, 0",
        "warmup_steps: 7, 0.0, 7",
        "'warmup_steps: 7\nwarmup_ratio: 0.2', 0.2, 0",
        "'warmup_steps: 7\nwarmup_ratio: 0.0', 0.0, 0",
        "'warmup_steps: 7\nwarmup_ratio: null', 0.0, 7",
        "warmup_steps: 1, 0.0, 1"
    })
    void warmupIsAShareOrANumberOfSteps(String line, double ratio, int steps) {
        StepConfig step = load(SMALLEST + line).config().step();

        assertThat(step.warmupRatio()).isEqualTo(ratio);
        assertThat(step.warmupSteps()).isEqualTo(steps);
    }

    @Test
    void scheduleArgumentsAreAMappingOrAJsonText() {
        String schedule = SMALLEST + "lr_scheduler_type: cosine_with_min_lr\nlr_scheduler_kwargs: ";

        assertThat(load(schedule + "{min_lr_rate: 1e-1}").config().step().scheduleArguments())
                .isEqualTo(Map.of("min_lr_rate", 0.1));
        assertThat(load(schedule + "'{\"min_lr\": 1e-6}'").config().step().scheduleArguments())
                .isEqualTo(Map.of("min_lr", 1e-6));
        Sources sources = Sources.ofFile(write(folder, SMALLEST))
                .with("lr_scheduler_type", "polynomial")
                .with("lr_scheduler_kwargs", "{\"power\": 2.0, \"lr_end\": 0}");
        assertThat(ConfigFile.load(sources, new Configuration(false))
                        .config()
                        .step()
                        .scheduleArguments())
                .isEqualTo(Map.of("power", 2.0, "lr_end", 0.0));
    }

    @Test
    void adjustLrMultipliesTheRateThatTheCommandLineGives() {
        String file = write(folder, SMALLEST + "learning_rate: 1e-3\n");
        Sources sources = new Sources(file, Map.of("learning-rate", "2e-4"), Map.of(), 0.5, Device.CPU);

        Loaded loaded = ConfigFile.load(sources, new Configuration(false));

        assertThat(loaded.config().step().learningRate()).isEqualTo(1e-4);
        assertThat(loaded.notes()).containsExactly("--adjust-lr 0.5: learning_rate 2.0E-4 becomes 1.0E-4");
    }

    @ParameterizedTest
    @CsvSource({
        "'', CUDA, CUDA",
        "device: cpu, CUDA, CPU",
        "device: cuda, CPU, CUDA",
        "use_cpu: true, CUDA, CPU",
        "use_cpu: false, CUDA, CUDA"
    })
    void deviceIsGivenOrTheCallersDefault(String line, Device fallback, Device device) {
        Sources sources = new Sources(write(folder, SMALLEST + line), Map.of(), Map.of(), 1, fallback);

        assertThat(ConfigFile.load(sources, new Configuration(false))
                        .config()
                        .parallel()
                        .device())
                .isEqualTo(device);
    }

    @ParameterizedTest
    @ValueSource(strings = {"sequence_parallel_size", "cp_size", "parallelism_config_sp_size"})
    void everyNameOfTheGroupSizeWorks(String key) {
        assertThat(load(SMALLEST + key + ": 4").config().parallel().sequenceParallelSize())
                .isEqualTo(4);
    }

    @Test
    void preparedRowsNeedNoCutoffThatDivides() {
        String lines = "sequence_parallel_size: 3\ntokenized_path: prepared\n";

        assertThat(load(SMALLEST + lines).config().parallel().sequenceParallelSize())
                .isEqualTo(3);
    }

    @Test
    void resumeIsAFolderOrASwitch() {
        assertThat(load(SMALLEST + "resume_from_checkpoint: null")
                        .config()
                        .output()
                        .resumeFromCheckpoint())
                .isNull();
        assertThat(load(SMALLEST + "resume_from_checkpoint: true")
                        .config()
                        .output()
                        .resumeFromCheckpoint())
                .isNull();
        assertThat(load(SMALLEST + "resume_from_checkpoint: out/checkpoint-5")
                        .config()
                        .output()
                        .resumeFromCheckpoint())
                .isEqualTo(here("out/checkpoint-5"));
        TrainingConfig.Output never =
                load(SMALLEST + "resume_from_checkpoint: false").config().output();
        assertThat(never.resumeFromCheckpoint()).isEqualTo(TrainingConfig.Output.NEVER_RESUME);
        assertThat(never.startsAnew()).isFalse();
        assertThat(load(SMALLEST + "overwrite_output_dir: true")
                        .config()
                        .output()
                        .startsAnew())
                .isTrue();
    }

    @Test
    void savingTheModelAloneIsNoted() {
        ConfigFile.Loaded loaded = load(SMALLEST + "save_only_model: true");

        assertThat(loaded.config().output().saveOnlyModel()).isTrue();
        assertThat(loaded.notes())
                .containsExactly(
                        "save_only_model true: checkpoints hold no optimizer states, so a run that is interrupted"
                                + " can't go on from them");
    }

    @Test
    void textsKeepWhatTheUserTyped() {
        TrainingConfig.Data data = load(SMALLEST + "default_system: ''\ntool_date: 26 Jul 2024\n")
                .config()
                .data();

        assertThat(data.defaultSystem()).isEmpty();
        assertThat(data.toolDate()).isEqualTo("26 Jul 2024");
        Sources sources = Sources.ofFile(write(folder, SMALLEST)).with("default_system", "{a}: b, c");
        assertThat(ConfigFile.load(sources, new Configuration(false))
                        .config()
                        .data()
                        .defaultSystem())
                .isEqualTo("{a}: b, c");
    }

    @Test
    void nullThinkingIsNotItsDefault() {
        assertThat(load(SMALLEST + "enable_thinking: null").config().data().enableThinking())
                .isNull();
    }

    @Test
    void listsMayBeCommasOrYaml() {
        TrainingConfig.Data data = load("""
                        model_name_or_path: model
                        finetuning_type: full
                        dataset: [a, b]
                        mix_strategy: interleave_under
                        interleave_probs: 0.25, 0.75
                        output_dir: out
                        """).config().data();

        assertThat(data.dataset()).containsExactly("a", "b");
        assertThat(data.interleaveProbabilities()).containsExactly(0.25, 0.75);
    }

    @Test
    void keysWithoutMeaningAreNotedOnceEach() {
        Loaded loaded = load(SMALLEST + """
                lora_rank: 16
                pref_beta: 0.2
                dataloader_num_workers: 4
                report_to: none
                trust_remote_code: true
                hf_hub_token: hf_secret
                use_dora: false
                bf16_full_eval: false
                ddp_timeout: 180000000
                """);

        assertThat(loaded.notes())
                .containsExactly(
                        "dataloader_num_workers 4 is ignored: prepared rows are mapped from files; no loader is needed",
                        "trust_remote_code true is ignored: no Python is run; only known model families are trained",
                        "hf_hub_token *** is ignored: HF_TOKEN in the driver's environment is used, so that no secret stands in files and logs",
                        "lora_rank 16 has no effect with finetuning_type full",
                        "pref_beta 0.2 has no effect with stage sft",
                        "ddp_timeout 180000000 is taken as 3600 seconds, so that a dead run ends");
        assertThat(loaded.config().parallel().timeoutSeconds()).isEqualTo(3600);
    }

    @Test
    void debugTurnsTheOriginalGradientStrategiesOnUnlessTheFileSaysWhich() {
        StrategyConfig original = strategies(SMALLEST, true);

        assertThat(original).isEqualTo(StrategyConfig.NONE.with(List.of(StrategyConfig.Strategy.values())));
        assertThat(strategies(SMALLEST + "gradient_strategies: original", false))
                .isEqualTo(original);
        assertThat(strategies(SMALLEST, false)).isEqualTo(StrategyConfig.NONE);
        assertThat(strategies(SMALLEST + "gradient_strategies: none", true)).isEqualTo(StrategyConfig.NONE);
        assertThat(strategies(SMALLEST + "gradient_strategies: clip,noise\ngradient_noise: 1e-4", true))
                .isEqualTo(new StrategyConfig(
                        List.of(StrategyConfig.Strategy.NOISE, StrategyConfig.Strategy.CLIP),
                        1e-3,
                        5,
                        1e-4,
                        1e-4,
                        1.5,
                        1.2,
                        1,
                        true));
    }

    private StrategyConfig strategies(String yaml, boolean debug) {
        Loaded loaded = ConfigFile.load(
                new Sources(write(folder, yaml), Map.of(), Map.of(), 1, Device.CPU, debug), new Configuration(false));
        StrategyConfig strategies = loaded.config().step().strategies();
        assertThat(loaded.notes())
                .filteredOn(note -> note.startsWith("gradient strategies that are on: "))
                .hasSize(strategies.strategies().isEmpty() ? 0 : 1);
        assertThat(TrainingConfig.fromJson(loaded.config().toJson())).isEqualTo(loaded.config());
        return strategies;
    }

    @Test
    void attentionIsTheModelsUnlessARunAsksForAnother() {
        assertThat(load(SMALLEST + "attention_window: 4096\nattention_sinks: 4\n")
                        .config()
                        .model()
                        .attention())
                .isEqualTo(new TrainingConfig.Attention(4096, 4, List.of()));
        TrainingConfig blocks = load(SMALLEST + "attention_block_pattern: [8+1, 32+0]\nattention_block_size: 64\n")
                .config();
        assertThat(blocks.model().attention())
                .isEqualTo(new TrainingConfig.Attention(
                        0, 0, List.of(new AttentionPattern(64, 8, 64), new AttentionPattern(64, 32, 0))));
        assertThat(TrainingConfig.fromJson(blocks.toJson())).isEqualTo(blocks);
    }

    @Test
    void reportsToServicesThatNeedNoPython() {
        Loaded loaded = load(SMALLEST + "report_to: wandb,TensorBoard,mlflow\nrun_name: first\nlogging_dir: board\n");

        assertThat(loaded.config().output().reporting())
                .isEqualTo(new TrainingConfig.Reporting(
                        List.of(TrainingConfig.Tracker.TENSORBOARD, TrainingConfig.Tracker.MLFLOW),
                        "first",
                        here("board"),
                        null,
                        false,
                        null));
        assertThat(loaded.notes())
                .containsExactly(
                        "report_to wandb is left out: it can only be reached from Python. Use tensorboard or mlflow; trainer_log.jsonl and report.html in output_dir are written anyway");
    }

    @Test
    void allServicesAreTensorBoard() {
        Loaded loaded = load(SMALLEST + "report_to: all\n");

        assertThat(loaded.config().output().reporting().trackers()).containsExactly(TrainingConfig.Tracker.TENSORBOARD);
        assertThat(loaded.notes())
                .containsExactly("report_to all is taken as tensorboard: mlflow is reported to when it is named");
    }

    @Test
    void aLoggingFolderWithoutTensorBoardIsNoted() {
        assertThat(load(SMALLEST + "logging_dir: board\n").notes())
                .containsExactly("logging_dir has no effect without report_to: tensorboard");
    }

    @Test
    void theDateOfARunStandsWhereItsNameIs() {
        Loaded loaded = load("""
                model_name_or_path: m
                dataset: d
                finetuning_type: full
                output_dir: models/{date}
                prepared_dir: rows/day-{date}
                run_name: nightly {date}
                date: 2026-02-28
                """);

        TrainingConfig.Output output = loaded.config().output();
        assertThat(output.outputDir()).isEqualTo(here("models/2026-02-28"));
        assertThat(output.reporting().runName()).isEqualTo("nightly 2026-02-28");
        assertThat(loaded.config().data().preparedDirectory()).isEqualTo(here("rows/day-2026-02-28"));
        assertThat(output.day()).isEqualTo(new TrainingConfig.Day("2026-02-28", here("models/{date}")));
        assertThat(TrainingConfig.fromJson(loaded.config().toJson())).isEqualTo(loaded.config());
    }

    @Test
    void yesterdayIsADate() {
        String yaml =
                "model_name_or_path: m\ndataset: d\nfinetuning_type: full\noutput_dir: o/{date}\ndate: yesterday\n";

        LocalDate before = LocalDate.now(ZoneOffset.UTC).minusDays(1);
        TrainingConfig.Day day = load(yaml).config().output().day();
        LocalDate after = LocalDate.now(ZoneOffset.UTC).minusDays(1);

        assertThat(List.of(before, after))
                .extracting(date -> new TrainingConfig.Day(date.toString(), here("o/{date}")))
                .contains(day);
    }

    @Test
    void aDateNeedsAFolderForEachDay() {
        assertThatThrownBy(() -> load("""
                model_name_or_path: m
                dataset: d
                output_dir: models
                prepared_dir: rows
                create_new_adapter: true
                date: 2026-02-28
                """))
                .hasMessageContaining(
                        "output_dir models has no {date}, though a date is given; give every day a folder of its own, such as models/{date}")
                .hasMessageContaining("prepared_dir rows has no {date}")
                .hasMessageContaining("create_new_adapter true would lose the adapters of all days but the last");
        assertThatThrownBy(() -> load(SMALLEST + "date: 28.02.2026\n"))
                .hasMessageContaining("is no date; write it as 2026-11-26, or yesterday");
        assertThatThrownBy(() -> load(SMALLEST.replace(": out", ": out/{date}")))
                .hasMessageContaining("names {date}, but no date is given; add --date 2026-11-26");
    }

    @Test
    void theStatusPageIsForThisMachineUnlessTold() {
        assertThat(load(SMALLEST + "status_port: 0\n")
                        .config()
                        .output()
                        .reporting()
                        .statusPage())
                .isEqualTo(new TrainingConfig.StatusPage("127.0.0.1", 0));
        assertThat(load(SMALLEST + "status_port: 8080\nstatus_host: 0.0.0.0\n")
                        .config()
                        .output()
                        .reporting()
                        .statusPage())
                .isEqualTo(new TrainingConfig.StatusPage("0.0.0.0", 8080));
        assertThat(load(SMALLEST + "status_host: 0.0.0.0\n").notes())
                .containsExactly("status_host has no effect without status_port");
    }

    @Test
    void answersComeAlongWithSecretsMasked() {
        assertThat(load(SMALLEST + "hf_hub_token: hf_secret\n").keys())
                .extracting(ConfigFile.KeyReport::value)
                .contains("***")
                .doesNotContain("hf_secret");
    }

    @Test
    void preferenceKeysWithoutMeaningAreNoted() {
        Loaded loaded = load(SMALLEST.replace("finetuning_type: full", "finetuning_type: lora") + """
                stage: dpo
                pref_loss: orpo
                pref_beta: 0.2
                simpo_gamma: 1.0
                ref_model: other
                precompute_ref_logps: true
                lora_dropout: 0.1
                """);

        assertThat(loaded.notes())
                .containsExactly(
                        "lora_dropout 0.1 has no effect with stage dpo: policy and reference are compared without dropout",
                        "simpo_gamma 1.0 has no effect with pref_loss orpo",
                        "ref_model other has no effect with pref_loss orpo, which needs no reference",
                        "precompute_ref_logps true has no effect with pref_loss orpo, which needs no reference");
        assertThat(loaded.config().preference())
                .isEqualTo(new PreferenceConfig(PreferenceConfig.Loss.ORPO, 0.2, 0, 0, 1, null, null, false));
        assertThat(loaded.config().data().packing()).isEqualTo(Packing.NONE);
    }

    @Test
    void loraIsTheDefaultAndItsDefaultsAreThoseOfLlamaFactory() {
        String nothing = SMALLEST.replace("finetuning_type: full\n", "");

        assertThat(load(nothing).config().tuning())
                .isEqualTo(new TuningConfig.Lora(
                        TuningConfig.Stage.SFT, 8, 16, 0, List.of("all"), List.of(), false, 1, List.of(), false));
    }

    @Test
    void keysOfLoraAndFreezeAreRead() {
        TrainingConfig lora = load(SMALLEST.replace("full", "lora") + """
                        stage: pt
                        lora_rank: 4
                        lora_alpha: 3
                        lora_dropout: 0.1
                        lora_target: q_proj, v_proj
                        additional_target: embed_tokens,lm_head
                        use_rslora: true
                        loraplus_lr_ratio: 16.0
                        adapter_name_or_path: hub/a,hub/b
                        create_new_adapter: true
                        """).config();
        TrainingConfig freeze = load(SMALLEST.replace("full", "freeze") + """
                        freeze_trainable_layers: -1
                        freeze_trainable_modules: mlp,self_attn
                        freeze_extra_modules: lm_head
                        """).config();

        assertThat(lora.tuning())
                .isEqualTo(new TuningConfig.Lora(
                        TuningConfig.Stage.PT,
                        4,
                        3,
                        0.1,
                        List.of("q_proj", "v_proj"),
                        List.of("embed_tokens", "lm_head"),
                        true,
                        16,
                        List.of("hub/a", "hub/b"),
                        true));
        assertThat(freeze.tuning())
                .isEqualTo(new TuningConfig.Freeze(
                        TuningConfig.Stage.SFT, -1, List.of("mlp", "self_attn"), List.of("lm_head")));
        assertThat(TrainingConfig.fromJson(lora.toJson())).isEqualTo(lora);
        assertThat(TrainingConfig.fromJson(freeze.toJson())).isEqualTo(freeze);
    }

    @Test
    void evaluationFollowsLoggingStepsAndTurnsDoEvalOn() {
        TrainingConfig.Evaluation evaluation = load(SMALLEST + "eval_strategy: steps\nval_size: 0.1\nlogging_steps: 7")
                .config()
                .evaluation();

        assertThat(evaluation).isEqualTo(new TrainingConfig.Evaluation(EvalStrategy.STEPS, 7, 0.1, true, 8));
    }

    @Test
    void checkReportsEveryKeyInOrder() {
        String file = write(folder, "stage: sft\nlora_rank: 8\nuse_muon: true\nlerning_rate: 1\n");

        ConfigFile.Report report = ConfigFile.check(Sources.ofFile(file), new Configuration(false));

        assertThat(report.keys().stream().map(key -> key.key() + " " + key.verdict()))
                .containsExactly(
                        "stage " + Verdict.SUPPORTED,
                        "lora_rank " + Verdict.SUPPORTED,
                        "use_muon " + Verdict.REFUSED,
                        "lerning_rate " + Verdict.UNKNOWN);
        assertThat(report.problems()).hasSize(5);
    }

    @Test
    void aFileMayLieOnAHadoopFileSystem() {
        Path file = Path.of(write(folder, SMALLEST));

        Loaded loaded = ConfigFile.load(Sources.ofFile(file.toUri().toString()), new Configuration(false));

        assertThat(loaded.config().output().outputDir()).isEqualTo(here("out"));
    }

    @Test
    void jsonIsReadWithCommentsWhenTheNameSaysSo() throws IOException {
        Path file = folder.resolve("train.json");
        Files.writeString(file, """
                {
                \t// a comment
                  "model_name_or_path": "m", "finetuning_type": "full",
                  "dataset": "d", "output_dir": "o", "bf16": true
                }
                """);

        TrainingConfig config = ConfigFile.load(Sources.ofFile(file.toString()), new Configuration(false))
                .config();

        assertThat(config.model().computeType()).isEqualTo(ComputeType.BFLOAT16);
    }

    @Test
    void missingFileIsOneClearMessage() {
        String missing = folder.resolve("none.yaml").toString();

        assertThatThrownBy(() -> ConfigFile.load(Sources.ofFile(missing), new Configuration(false)))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("none.yaml does not exist; relative paths start at");
    }

    @Test
    void exceptionCountsProblems() {
        ConfigException exception = new ConfigException("train.yaml", List.of("a", "b"));

        assertThat(exception).hasMessage("2 problems in train.yaml:\n- a\n- b");
        assertThat(exception.problems()).containsExactly("a", "b");
    }

    private Loaded load(String yaml) {
        return ConfigFile.load(Sources.ofFile(write(folder, yaml)), new Configuration(false));
    }

    static String write(Path folder, String yaml) {
        try {
            Path file = folder.resolve("train.yaml");
            Files.writeString(file, yaml);
            return file.toString();
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
