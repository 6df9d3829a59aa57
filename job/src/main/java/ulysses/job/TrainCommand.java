package ulysses.job;

import java.io.PrintStream;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import ulysses.driver.hub.ModelHub;
import ulysses.driver.launch.ConsoleProgress;
import ulysses.driver.launch.RankJob;
import ulysses.driver.launch.RunAttempts;
import ulysses.driver.launch.RunOutcome;
import ulysses.driver.packing.ExampleEncoder;
import ulysses.driver.packing.PreparedData;
import ulysses.driver.plan.EarlierRun;
import ulysses.driver.plan.Preflight;
import ulysses.driver.plan.RunPlan;
import ulysses.driver.plan.RunShape;
import ulysses.driver.report.RunArguments;
import ulysses.driver.report.RunFollowers;
import ulysses.driver.report.RunReporting;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.checkpoint.LeaseHolder;
import ulysses.runtime.checkpoint.RunLease;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.PreferenceConfig;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TuningConfig;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.HubCacheFolder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.TunedModel;

/** {@code train}: check, prepare if needed, train, export. The whole product in one page. */
final class TrainCommand {

    /** What each rank's process runs: named, not imported, since only ranks load libtorch. */
    static final String RANK_MAIN = "ulysses.runtime.training.RankMain";

    private TrainCommand() {}

    static int run(
            CommandLine commandLine,
            SparkConf conf,
            Configuration hadoop,
            Map<String, String> environment,
            PrintStream out)
            throws InterruptedException {
        ConfigFile.Loaded asked = PrepareCommand.load(commandLine, conf, hadoop, out);
        RunFollowers.check(asked.config(), environment);
        TrainingConfig config = new ModelFolders(environment, hadoop, out).in(asked.config(), ModelHub.Parts.MODEL);
        ConfigFile.Loaded loaded = new ConfigFile.Loaded(config, asked.notes(), asked.keys());
        ModelDirectory model = ModelDirectory.open(config.model().modelNameOrPath(), hadoop);
        ModelSpec spec = model.spec();
        if (!config.model().trainFromScratch()) {
            model.weights().close(); // what their headers say is refused here, not on every rank
        }
        TunedModel tuned = TunedModel.of(config, spec, hadoop); // refuses what does not fit the model or adapters
        describe(config, tuned, out);
        try (JobSession session = JobSession.open(conf, "ulysses train", config.parallel(), out)) {
            Preflight preflight = Preflight.of(session.context(), config, out::println)
                    .heads(spec.heads(), spec.kvHeads())
                    .attention(tuned.spec());
            reference(config, hadoop).ifPresent(other -> preflight.reference(other, spec.vocabularySize()));
            if (model.companions().contains(ModelDirectory.TOKENIZER)) { // rows that are tokenized already need none
                Tokenizer tokenizer = Tokenizer.open(config.model().modelNameOrPath(), hadoop);
                preflight.vocabulary(tokenizer.largestId(), spec.vocabularySize());
            }
            memory(preflight, session, tuned, config);
            preflight.check();
            String runId = UUID.randomUUID().toString();
            try (RunLease output = lease(config.output().outputDir(), runId, hadoop);
                    RunLease checkpoints =
                            config.output().checkpoints().equals(config.output().outputDir())
                                    ? output
                                    : lease(config.output().checkpoints(), runId, hadoop)) {
                try {
                    train(new Run(session, loaded, runId), preflight.slots(), environment, hadoop, out);
                } catch (InterruptedException | RuntimeException failure) {
                    output.requireHeld(); // says more than the interrupt that follows its loss
                    checkpoints.requireHeld();
                    throw failure;
                }
            }
            return 0;
        }
    }

    /** Where ranks compute on this machine's processor, what they have is known before one starts. */
    private static void memory(Preflight preflight, JobSession session, TunedModel tuned, TrainingConfig config) {
        boolean hasShape =
                config.parallel().sequenceParallelSize() <= tuned.spec().heads(); // else it is refused anyway
        boolean here = config.parallel().device() == ParallelConfig.Device.CPU
                && session.context().master().startsWith("local");
        if (hasShape && here) {
            RunPlan plan = PlanCommand.onThisMachine(RunShape.of(config, tuned));
            preflight.memory(plan.memory().peak(), plan.hardware().usableBytes());
        }
    }

    /** One run at a time trains into a folder; should another take it over, this one is interrupted. */
    private static RunLease lease(String folder, String runId, Configuration hadoop) throws InterruptedException {
        return RunLease.take(Folder.at(folder, hadoop), LeaseHolder.here(runId), Thread.currentThread()::interrupt);
    }

    private record Run(JobSession session, ConfigFile.Loaded loaded, String id) {}

    private static void train(
            Run run, Preflight.Cleared cleared, Map<String, String> environment, Configuration hadoop, PrintStream out)
            throws InterruptedException {
        TrainingConfig config = run.loaded().config();
        cleared.notes().forEach(note -> out.println("note: " + note));
        PreparedData data = PrepareCommand.prepare(run.session(), config, hadoop, out);
        new EarlierRun(hadoop).requireContinuable(config, cleared.mesh(), data.trainPath());
        RankJob job = new RankJob(run.id(), RANK_MAIN, cleared.mesh(), config, data.trainPath(), data.evalSets());
        RunArguments arguments = RunArguments.of(
                Instant.now().truncatedTo(ChronoUnit.SECONDS).toString(), cleared.mesh(), data, run.loaded());
        try (RunReporting reporting = RunReporting.begin(arguments, config, environment, hadoop)) {
            reporting.statusPage().ifPresent(address -> out.println("status page: " + address));
            try {
                RunOutcome outcome = attempts(run.session(), job, reporting, out);
                writeTokenizer(config, Folder.at(config.output().outputDir(), hadoop), hadoop);
                conclude(config, outcome, reporting.finished(), out);
            } catch (RuntimeException failure) {
                reporting.failed(failure);
                throw failure;
            }
        }
    }

    /** The folder's tokenizer as the template left it; a model without one was trained on rows that had their ids. */
    static void writeTokenizer(TrainingConfig config, Folder output, Configuration hadoop) {
        if (output.has(ModelDirectory.TOKENIZER) && config.data().template() != null) {
            ExampleEncoder.of(config, Tokenizer.open(output.path(), hadoop)).writeTokenizer(output);
        }
    }

    private static RunOutcome attempts(JobSession session, RankJob job, RunReporting reporting, PrintStream out)
            throws InterruptedException {
        ConsoleProgress console =
                ConsoleProgress.fitting(out, job.config().output().loggingSteps());
        return new RunAttempts(session.context(), job, List.of(console, reporting)).run();
    }

    /** Opened and closed here, so that what its files say is refused before a rank starts. */
    private static Optional<ModelSpec> reference(TrainingConfig config, Configuration hadoop) {
        PreferenceConfig preference = config.preference();
        if (preference == null || preference.refModel() == null) {
            return Optional.empty();
        }
        ModelDirectory model = ModelDirectory.open(preference.refModel(), hadoop);
        model.weights().close();
        return Optional.of(model.spec());
    }

    private static void describe(TrainingConfig config, TunedModel tuned, PrintStream out) {
        ModelSpec spec = tuned.spec();
        out.println(String.format(
                Locale.ROOT,
                "model: %s, %s, %,d parameters, %d layers, %d heads (%d kv)",
                HubCacheFolder.idOf(config.model().modelNameOrPath()),
                config.model().trainFromScratch() ? "random weights" : "its weights",
                spec.parameterCount(),
                spec.layers(),
                spec.heads(),
                spec.kvHeads()));
        if (!tuned.plan().frozen().isEmpty()) {
            out.println(String.format(
                    Locale.ROOT,
                    "trained: %,d parameters%s; the model's other %,d stay as they are",
                    tuned.plan().trainedElements(),
                    tuned.adapter()
                            .map(lora -> " of an adapter (rank %d, scaling %s, on %s)"
                                    .formatted(lora.rank(), lora.scaling(), String.join(", ", lora.targetModules())))
                            .orElse(""),
                    tuned.plan().frozenElements()));
        }
        out.println(String.format(
                Locale.ROOT,
                "training: %s, rows of %,d tokens, sequence_parallel_size %d, %s",
                config.tuning().stage().name().toLowerCase(Locale.ROOT),
                config.rowTokens(),
                config.parallel().sequenceParallelSize(),
                config.parallel().device().name().toLowerCase(Locale.ROOT)));
    }

    private static void conclude(TrainingConfig config, RunOutcome outcome, RunReporting.Made made, PrintStream out) {
        String folder = config.output().outputDir();
        outcome.lastStep()
                .ifPresentOrElse(
                        step -> out.println(String.format(
                                Locale.ROOT,
                                "done: %d steps, last loss %.4f, in %d s and %d attempt(s)",
                                step.step(),
                                step.loss(),
                                outcome.duration().toSeconds(),
                                outcome.attempts())),
                        () -> out.println("done: nothing was left to train"));
        made.notes().forEach(note -> out.println("note: " + note));
        boolean adapter = config.tuning() instanceof TuningConfig.Lora;
        out.println(
                adapter
                        ? "adapter:     " + folder
                                + "  (a PEFT folder: adapter_config.json, adapter_model.safetensors, tokenizer, model card)"
                        : "model:       " + folder
                                + "  (a Hugging Face folder: config, weights, tokenizer, model card)");
        out.println("report:      " + folder + "/report.html  (curves, data, settings; open it in a browser)");
        if (!made.pictures().isEmpty()) {
            out.println("pictures:    " + folder + "/" + String.join(", ", made.pictures()));
        }
        out.println("log:         " + folder + "/trainer_log.jsonl, trainer_state.json, all_results.json");
        made.places().forEach(out::println);
        outcome.saved().ifPresent(saved -> out.println("checkpoint:  " + saved.path()));
        out.println(
                adapter
                        ? "next: load the folder with PEFT, merge it into its model with export, or train on with adapter_name_or_path: "
                                + folder
                        : "next: load the folder with transformers' AutoModelForCausalLM, or train on with model_name_or_path: "
                                + folder);
    }
}
