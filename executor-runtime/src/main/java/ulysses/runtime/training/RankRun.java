package ulysses.runtime.training;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.bytedeco.pytorch.Device;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.ResumeTerms;
import ulysses.runtime.checkpoint.TrainState;
import ulysses.runtime.collective.ProcessGroups;
import ulysses.runtime.collective.Timeline;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.PreferenceConfig;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.RankBatches;
import ulysses.runtime.export.HuggingFaceExport;
import ulysses.runtime.gradient.GradientStrategies;
import ulysses.runtime.memory.Offload;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.model.CausalLm;
import ulysses.runtime.model.InitialWeights;
import ulysses.runtime.model.ParameterSharing;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.model.Sharding;
import ulysses.runtime.objective.NextToken;
import ulysses.runtime.objective.Objective;
import ulysses.runtime.objective.Preference;
import ulysses.runtime.objective.Reference;
import ulysses.runtime.optimizer.AdamW;
import ulysses.runtime.segment.OffloadedSegments;
import ulysses.runtime.weights.AdapterDirectory;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.TensorData;
import ulysses.runtime.weights.TunedModel;
import ulysses.runtime.weights.WeightFile;
import ulysses.runtime.weights.WeightIndex;

/** One rank's life, top to bottom: data, model, groups, loop, export. Everything it opens it closes, in reverse. */
final class RankRun {

    private final RankAssignment assignment;
    private final TrainingConfig config;
    private final RankReporter reporter;
    private final Configuration hadoop;
    private final Path scratch;
    private final RankDevice place;
    private final Timeline timeline;

    /** The rank that {@code assignment} describes. */
    RankRun(RankAssignment assignment, RankReporter reporter) {
        this.assignment = assignment;
        this.config = assignment.config();
        this.reporter = reporter;
        this.hadoop = new Configuration();
        this.scratch = Path.of(assignment.localDirectory()).resolve("rank-" + assignment.rank());
        this.place = new RankDevice(assignment, scratch);
        this.timeline = StepProfile.timeline(config);
    }

    /** Runs all of it; returns the optimizer steps done. */
    long run() throws IOException {
        try {
            return opened();
        } catch (RuntimeException failure) {
            throw place.memory().explain(failure);
        }
    }

    private long opened() throws IOException {
        reporter.phase("load", 0);
        Files.createDirectories(scratch);
        Device device = place.device();
        ModelDirectory source = ModelDirectory.open(config.model().modelNameOrPath(), hadoop);
        TunedModel tuned = TunedModel.of(config, source.spec(), hadoop);
        try (RunRows rows =
                        RunRows.open(assignment, scratch, hadoop, source.spec().vocabularySize());
                Parameters parameters =
                        new Parameters(tuned.plan(), config.model().computeType(), device, sharding(), place.states());
                AdamW optimizer = new AdamW(parameters, config.step(), place.states());
                @Nullable Offload activations = place.activations()) {
            initialise(source, tuned, parameters);
            reporter.phase("connect", 0);
            try (ProcessGroups groups = ProcessGroups.open(
                            assignment,
                            port -> reporter.event(new RankEvent.StoreOpen(assignment.rank(), port)),
                            timeline);
                    ParameterSharing sharing = new ParameterSharing(parameters, groups.world())) {
                return train(
                        source, tuned, new Trained(sharing, optimizer, rows, Optional.ofNullable(activations)), groups);
            }
        }
    }

    private Sharding sharding() {
        return Sharding.of(
                config.parallel().zeroStage(),
                assignment.rank(),
                assignment.mesh().worldSize());
    }

    private record Trained(ParameterSharing sharing, AdamW optimizer, RunRows rows, Optional<Offload> activations) {}

    private long train(ModelDirectory source, TunedModel tuned, Trained trained, ProcessGroups groups)
            throws IOException {
        ParameterSharing sharing = trained.sharing();
        Parameters parameters = sharing.parameters();
        Agreement agreement = new Agreement(groups.world(), parameters.device());
        ModelState model = new ModelState(tuned, sharing, trained.optimizer());
        RunCheckpoints checkpoints = new RunCheckpoints(
                assignment,
                source,
                tuned,
                agreement,
                hadoop,
                new RunCheckpoints.Watch(
                        saved -> reporter.event(
                                new RankEvent.Saved(0, saved.state().step(), saved.path())),
                        timeline,
                        reporter::progress));
        List<String> warnings = new ArrayList<>();
        ResumeTerms terms = ResumeTerms.of(
                config, assignment.mesh(), Optional.of(trained.rows().fingerprint()));
        Optional<Checkpoint> resumed = checkpoints.latest(terms, warnings);
        warnings.forEach(reporter::warning);
        resumed.ifPresent(checkpoint -> checkpoints.restore(checkpoint, model));

        RankBatches batches = trained.rows().training(tuned.spec(), reporter);
        CausalLm policy = policy(tuned, trained, groups);
        Optional<TrainerLog> log =
                assignment.rank() == 0 ? Optional.of(log(tuned, batches, resumed)) : Optional.empty();
        try (checkpoints;
                RunReference references = new RunReference(
                        config, new RunReference.Start(source, tuned, parameters.device(), hadoop), policy, groups)) {
            Objective objective = objective(policy, references, trained.rows().all(), agreement);
            SequenceStep sequence = new SequenceStep(
                    policy, objective, groups.sequenceParallel(), timeline, UsefulOperations.of(tuned)::of);
            TrainStep step = new TrainStep(
                    sequence,
                    sharing,
                    trained.optimizer(),
                    config.step().maxGradNorm(),
                    new GradientStrategies(
                            config.step().strategies(), config.step().seed()));
            List<EvaluationPass> evaluations = trained.rows().evaluation().stream()
                    .map(set -> new EvaluationPass(set.name(), sequence, set.batches(), agreement, reporter::progress))
                    .toList();
            TrainLoop loop = new TrainLoop(
                    config,
                    new TrainLoop.Parts(
                            assignment.mesh(),
                            batches,
                            step,
                            model,
                            checkpoints,
                            evaluations,
                            log,
                            reporter,
                            place.memory(),
                            room(policy, agreement, copy(tuned)),
                            timeline,
                            new StepProfile(timeline, Folder.at(config.output().outputDir(), hadoop), assignment)),
                    resumed.map(Checkpoint::state)
                            .orElseGet(() -> beginning(terms, trained.rows().fingerprint())));
            TrainState end = loop.run();
            finish(evaluations, log, end);
            export(source, tuned, model, end);
            return end.step();
        }
    }

    /** Of weights, masters and moments: this rank's share, in float32. */
    private long copy(TunedModel tuned) {
        return config.output().saveStrategy() == TrainingConfig.SaveStrategy.NO
                ? 0
                : 4L
                        * Float.BYTES
                        * tuned.plan().trainedElements()
                        / assignment.mesh().worldSize();
    }

    /** @param copy bytes of host memory that a save will take */
    private Optional<ActivationRoom> room(CausalLm policy, Agreement agreement, long copy) {
        boolean stay = !config.parallel().offloadsActivations(); // what is away takes none of the device's memory
        if (config.model().activationMemory().kind() != ActivationMemory.Kind.AUTO || !stay) {
            return Optional.empty();
        }
        return Optional.of(new ActivationRoom(policy, place.memory(), agreement, place.place(copy)));
    }

    private void initialise(ModelDirectory source, TunedModel tuned, Parameters parameters) {
        InitialWeights weights = new InitialWeights(tuned.spec(), parameters, reporter::progress);
        long seed = config.step().seed();
        if (config.model().trainFromScratch()) {
            weights.draw(seed);
        } else {
            try (WeightIndex files = source.weights()) {
                DataType type = parameters.isMixed() ? DataType.BF16 : DataType.F32;
                tuned.read(files, source.spec(), type, weights::load);
            }
        }
        if (tuned.start().isPresent()) {
            AdapterDirectory start = tuned.start().get();
            try (WeightFile file = start.weights(tuned.spec())) {
                weights.loadAdapter(start.spec(), file);
            }
        } else {
            tuned.adapter().ifPresent(lora -> weights.drawAdapter(lora, seed));
        }
    }

    private CausalLm policy(TunedModel tuned, Trained trained, ProcessGroups groups) {
        CausalLm.Layers here = new CausalLm.Layers(
                        config.parallel().device(), config.model().activationMemory())
                .overlapping(config.parallel().overlapsExchange());
        CausalLm.Layers how = trained.activations()
                .map(offload -> here.with(new OffloadedSegments(offload)))
                .orElse(here);
        return new CausalLm(
                tuned.spec(),
                trained.sharing(),
                tuned.adapter()
                        .map(lora -> new CausalLm.Adapter(lora, config.step().seed())),
                how,
                groups.sequenceParallel());
    }

    private Objective objective(
            CausalLm policy, RunReference references, List<RunReference.RowSet> rows, Agreement agreement)
            throws IOException {
        PreferenceConfig preference = config.preference();
        if (preference == null) {
            return new NextToken(policy.head());
        }
        Optional<Reference> reference = references.open(preference, rows, agreement, reporter);
        return new Preference(preference, policy.head(), reference, references.group());
    }

    /** An adapter's parameters count too, as in transformers. */
    private TrainerLog log(TunedModel tuned, RankBatches batches, Optional<Checkpoint> resumed) {
        Folder output = Folder.at(config.output().outputDir(), hadoop);
        long adapter = tuned.adapter().isPresent() ? tuned.plan().trainedElements() : 0;
        TrainerRun run =
                TrainerRun.of(config, batches.totalSteps(), tuned.spec().nonEmbeddingParameterCount() + adapter);
        return resumed.map(
                        checkpoint -> TrainerLog.resume(output, run, Clock.systemUTC(), checkpoint.trainerStateJson()))
                .orElseGet(() -> TrainerLog.begin(output, run, Clock.systemUTC()));
    }

    private TrainState beginning(ResumeTerms terms, String rowsFingerprint) {
        return new TrainState(0, 0, 0, 0, 0, 0, 0, config.step().seed(), terms.order(), rowsFingerprint, 0);
    }

    private void finish(List<EvaluationPass> evaluations, Optional<TrainerLog> log, TrainState end) throws IOException {
        log.ifPresent(file -> file.finish(end.rowsSeen()));
        if (config.evaluation().doEval() && !evaluations.isEmpty()) {
            reporter.phase("evaluate", end.step());
            List<TrainerLog.Evaluation> results = new ArrayList<>();
            for (EvaluationPass evaluation : evaluations) {
                TrainerLog.Evaluation result = evaluation.run();
                results.add(result);
                if (assignment.rank() == 0) {
                    reporter.event(new RankEvent.Evaluated(0, end.step(), result.name(), result.loss()));
                }
            }
            log.ifPresent(file -> file.finalEvaluations(results));
        }
    }

    private void export(ModelDirectory source, TunedModel tuned, ModelState model, TrainState end) {
        reporter.phase("export", end.step());
        try (ModelState.Weights weights = model.exported()) {
            if (assignment.rank() == 0) {
                export(
                        source,
                        tuned,
                        weights.tensors().stream()
                                .map(tensor -> tensor.watched(reporter::progress))
                                .toList());
            }
        }
    }

    private void export(ModelDirectory source, TunedModel tuned, List<TensorData> weights) {
        Folder output = Folder.at(config.output().outputDir(), hadoop);
        if (tuned.adapter().isPresent()) {
            source.copyTokenizerTo(output);
            AdapterDirectory.write(output, tuned.adapter().get(), tuned.origin(config), weights);
        } else {
            HuggingFaceExport.write(
                    source, tuned.spec(), weights, output, config.output().maxShardBytes());
        }
    }
}
