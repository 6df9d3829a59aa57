package ulysses.runtime.training;

import java.io.IOException;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import ulysses.runtime.checkpoint.TrainState;
import ulysses.runtime.collective.Timeline;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.RankBatches;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.memory.DeviceMemory;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.optimizer.LearningRateSchedule;

/**
 * Steps, and when to log, evaluate and save. Every rank runs the same loop: what happens at a step depends on the step's number
 * only, so all ranks make the same collectives. Rank 0 keeps the log.
 */
final class TrainLoop {

    /** Steps in a row without finite numbers before training gives up; chosen, not tuned. */
    private static final int PATIENCE = 3;

    private static final int ROWS_NAMED = 16;

    private final TrainingConfig config;
    private final Parts parts;
    private final LearningRateSchedule schedule;
    private TrainState state;
    private final StrategyTally strategies;
    private int notFinite;
    private double waited;
    private double waitedForOthers;

    /**
     * What the loop drives.
     *
     * @param log rank 0's, empty elsewhere
     * @param evaluations one for each evaluation set
     * @param timeline what {@code profile} writes
     */
    record Parts(
            RankMesh mesh,
            RankBatches batches,
            TrainStep step,
            ModelState model,
            RunCheckpoints checkpoints,
            List<EvaluationPass> evaluations,
            Optional<TrainerLog> log,
            RankReporter reporter,
            DeviceMemory memory,
            Optional<ActivationRoom> room,
            Timeline timeline,
            StepProfile profile) {}

    /** Begins after {@code start}. */
    TrainLoop(TrainingConfig config, Parts parts, TrainState start) {
        this.config = config;
        this.parts = parts;
        this.state = start;
        this.strategies = new StrategyTally(config.step().strategies());
        this.schedule = LearningRateSchedule.of(config.step(), parts.batches().totalSteps());
    }

    /** Runs all steps that are left; returns the last state. */
    TrainState run() throws IOException {
        long total = parts.batches().totalSteps();
        long first = state.step();
        double secondsBefore = state.seconds();
        while (state.step() < total) {
            parts.checkpoints().check();
            parts.reporter().phase(RankEvent.Phase.STEP, state.step() + 1);
            parts.profile().begin(state.step() + 1, first, total);
            StepBatches batches = batches();
            StepMetrics metrics = parts.step().run(batches, schedule.at(state.step()));
            if (state.step() == first) {
                parts.room().ifPresent(room -> parts.reporter().activationRoom(room.open(batches)));
            }
            waitedForOthers += metrics.waitShare() * metrics.computeSeconds();
            double loss = counted(metrics);
            state = advanced(batches, metrics, loss);
            checkFinite(metrics);
            report(metrics, loss, total);
            if (evaluatesNow(batches)) {
                evaluate();
            }
            if (savesNow(batches)) {
                long begin = System.nanoTime();
                save();
                waited += (System.nanoTime() - begin) / 1e9;
            }
            parts.profile().end();
        }
        double steps = state.seconds() - secondsBefore;
        if (steps > 0) {
            parts.reporter()
                    .note("steps took %.1f s, and %.2f %% of that (%.2f s) was waited for checkpoints"
                            .formatted(steps, 100 * waited / steps, waited));
            parts.reporter()
                    .note("ranks waited %.1f %% of the steps' time for slower ones before gradients were summed"
                            .formatted(100 * waitedForOthers / steps));
        }
        parts.checkpoints().finish();
        parts.profile().finish();
        if (parts.reporter().rank() == 0) {
            strategies.summary().ifPresent(parts.reporter()::warning);
        }
        return state;
    }

    private StepBatches batches() throws IOException {
        try (Timeline.Span span = parts.timeline().span("read rows")) {
            return parts.batches().step(state.step());
        }
    }

    private TrainState advanced(StepBatches batches, StepMetrics metrics, double loss) {
        return new TrainState(
                state.step() + 1,
                parts.batches().epochAt(state.step() + 1),
                state.rowsSeen() + batches.globalRows(),
                state.tokensSeen() + metrics.tokens(),
                state.trainedTokens() + metrics.trainedTokens(),
                state.lossSum() + loss,
                state.seconds() + metrics.seconds(),
                state.seed(),
                state.configFingerprint(),
                state.dataFingerprint(),
                state.skippedSteps() + (metrics.updated() ? 0 : 1));
    }

    /** The loss of a step as sums and logs count it: one that is not finite counts as the mean of those before, as in transformers. */
    private double counted(StepMetrics metrics) {
        if (Double.isFinite(metrics.loss())) {
            return metrics.loss();
        }
        return state.step() == 0 ? 0 : state.lossSum() / state.step();
    }

    private void checkFinite(StepMetrics metrics) {
        notFinite = metrics.updated() ? 0 : notFinite + 1;
        if (notFinite == 0) {
            return;
        }
        String what = "step %d: loss %s, gradient norm %s, not finite; rows %s"
                .formatted(state.step(), metrics.loss(), metrics.gradNorm(), rows(metrics));
        if (notFinite >= PATIENCE) {
            throw new DivergedException(
                    "%s; %d steps in a row were not finite, limit %d. Lower learning_rate, set max_grad_norm to 1.0, or look at these rows with 'inspect F --from ROW --rows 1'"
                            .formatted(what, notFinite, PATIENCE));
        }
        if (parts.reporter().rank() == 0) {
            parts.reporter().warning(what + "; the step is skipped on all ranks");
        }
    }

    /** Rows of the micro-batches whose loss was not finite; all of the step where only gradients were not. */
    private String rows(StepMetrics metrics) {
        long step = state.step() - 1;
        List<Long> rows = metrics.suspects().stream()
                .flatMap(suspect -> parts
                        .batches()
                        .rowNumbers(step, parts.mesh().dataParallelRank(suspect.rank()), suspect.microBatch())
                        .stream())
                .distinct()
                .sorted()
                .toList();
        List<Long> named = rows.isEmpty() ? parts.batches().rowNumbers(step) : rows;
        String first = named.stream().limit(ROWS_NAMED).map(String::valueOf).collect(Collectors.joining(", "));
        return named.size() > ROWS_NAMED ? "%s and %d more".formatted(first, named.size() - ROWS_NAMED) : first;
    }

    private void report(StepMetrics metrics, double loss, long total) {
        if (metrics.updated()) {
            strategies.count(metrics.strategies());
        }
        if (state.step() % config.output().loggingSteps() == 0) {
            Map<String, Double> fired = strategies.logged();
            parts.log().ifPresent(log -> log.alongside(fired));
        }
        Optional<Map<String, Double>> logged = parts.log()
                .map(log -> log.step(new TrainerLog.Step(
                        state.step(),
                        state.epoch(),
                        loss,
                        metrics.updated() ? metrics.metrics() : Map.of(),
                        metrics.updated() ? metrics.terms() : 0,
                        metrics.gradNorm(),
                        metrics.learningRate(),
                        metrics.tokens())));
        if (parts.reporter().rank() == 0) {
            parts.reporter()
                    .event(new RankEvent.Step(
                            0,
                            state.step(),
                            total,
                            state.epoch(),
                            metrics.loss(),
                            metrics.gradNorm(),
                            metrics.learningRate(),
                            metrics.tokens(),
                            metrics.seconds(),
                            parts.memory().peak()));
            parts.reporter()
                    .event(new RankEvent.Measured(
                            0,
                            state.step(),
                            metrics.computeSeconds(),
                            metrics.reduceSeconds(),
                            metrics.optimizerSeconds(),
                            metrics.exchangeBytes(),
                            metrics.phases(),
                            metrics.waitShare(),
                            metrics.operations()));
        }
        logged.ifPresent(this::reportLogged);
    }

    private void reportLogged(Map<String, Double> values) {
        if (!values.isEmpty()) {
            parts.reporter().event(new RankEvent.Logged(0, state.step(), values));
        }
        if (values.containsKey(LossSpike.NAME)) {
            parts.reporter()
                    .warning(
                            "step %d: the loss is %.1f times the mean of the %d logged before; look at its rows if it stays"
                                    .formatted(state.step(), values.get(LossSpike.NAME), LossSpike.WINDOW));
        }
    }

    private boolean evaluatesNow(StepBatches batches) {
        return !parts.evaluations().isEmpty()
                && switch (config.evaluation().strategy()) {
                    case NO -> false;
                    case STEPS -> state.step() % config.evaluation().steps() == 0;
                    case EPOCH -> batches.endsEpoch();
                };
    }

    private void evaluate() throws IOException {
        parts.reporter().phase("evaluate", state.step());
        for (EvaluationPass evaluation : parts.evaluations()) {
            TrainerLog.Evaluation result = run(evaluation);
            parts.log().map(log -> log.evaluated(result)).ifPresent(this::reportLogged);
            if (parts.reporter().rank() == 0) {
                parts.reporter().event(new RankEvent.Evaluated(0, state.step(), result.name(), result.loss()));
            }
        }
    }

    private TrainerLog.Evaluation run(EvaluationPass evaluation) throws IOException {
        try (Timeline.Span span = parts.timeline().span("evaluate")) {
            return evaluation.run();
        }
    }

    /** The last step is saved whenever saving is on, as transformers does. */
    private boolean savesNow(StepBatches batches) {
        boolean last = state.step() == parts.batches().totalSteps();
        return switch (config.output().saveStrategy()) {
            case NO -> false;
            case STEPS -> last || state.step() % config.output().saveSteps() == 0;
            case EPOCH -> last || batches.endsEpoch();
        };
    }

    private void save() {
        parts.reporter().phase("checkpoint", state.step());
        String trainerState = parts.log().map(TrainerLog::save).orElse("");
        try (Timeline.Span span = parts.timeline().span("copy for the checkpoint")) {
            parts.checkpoints().save(parts.model(), state, trainerState);
        }
    }
}
