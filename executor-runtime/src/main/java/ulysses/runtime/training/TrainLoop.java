package ulysses.runtime.training;

import java.io.IOException;
import java.util.Map;
import java.util.Optional;
import ulysses.runtime.checkpoint.TrainState;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.RankBatches;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.memory.DeviceMemory;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.optimizer.LearningRateSchedule;

/**
 * Steps, and when to log, evaluate and save. Every rank runs the same loop: what happens at a step depends on the step's number
 * only, so all ranks make the same collectives. Rank 0 keeps the log.
 */
final class TrainLoop {

    /** Steps in a row without finite numbers before training gives up; chosen, not tuned. */
    private static final int PATIENCE = 3;

    private final TrainingConfig config;
    private final Parts parts;
    private final LearningRateSchedule schedule;
    private TrainState state;
    private final StrategyTally strategies;
    private int notFinite;

    /**
     * What the loop drives.
     *
     * @param log rank 0's, empty elsewhere
     * @param evaluation empty when there are no evaluation rows
     */
    record Parts(
            RankBatches batches,
            TrainStep step,
            ModelState model,
            RunCheckpoints checkpoints,
            Optional<EvaluationPass> evaluation,
            Optional<TrainerLog> log,
            RankReporter reporter,
            DeviceMemory memory,
            Optional<ActivationRoom> room) {}

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
        while (state.step() < total) {
            parts.reporter().phase("step", state.step() + 1);
            StepBatches batches = parts.batches().step(state.step());
            StepMetrics metrics = parts.step().run(batches, schedule.at(state.step()));
            if (state.step() == first) {
                parts.room().ifPresent(room -> parts.reporter().activationRoom(room.open(batches)));
            }
            state = advanced(batches, metrics);
            checkFinite(metrics);
            report(metrics, total);
            if (evaluatesNow(batches)) {
                evaluate();
            }
            if (savesNow(batches)) {
                save();
            }
        }
        if (parts.reporter().rank() == 0) {
            strategies.summary().ifPresent(parts.reporter()::warning);
        }
        return state;
    }

    private TrainState advanced(StepBatches batches, StepMetrics metrics) {
        return new TrainState(
                state.step() + 1,
                parts.batches().epochAt(state.step() + 1),
                state.rowsSeen() + batches.globalRows(),
                state.tokensSeen() + metrics.tokens(),
                state.trainedTokens() + metrics.trainedTokens(),
                state.lossSum() + metrics.loss(),
                state.seconds() + metrics.seconds(),
                state.seed(),
                state.configFingerprint(),
                state.dataFingerprint());
    }

    private void checkFinite(StepMetrics metrics) {
        notFinite = metrics.updated() ? 0 : notFinite + 1;
        if (notFinite == 0) {
            return;
        }
        String what = "step %d: loss %s, gradient norm %s".formatted(state.step(), metrics.loss(), metrics.gradNorm());
        if (notFinite >= PATIENCE) {
            throw new DivergedException(
                    "%s; not finite for %d steps in a row, limit %d. Lower learning_rate, set max_grad_norm to 1.0, or look at the rows of these steps with 'inspect'"
                            .formatted(what, notFinite, PATIENCE));
        }
        if (parts.reporter().rank() == 0) {
            parts.reporter().warning(what + " is not finite; the step is skipped on all ranks");
        }
    }

    private void report(StepMetrics metrics, long total) {
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
                        metrics.loss(),
                        metrics.metrics(),
                        metrics.terms(),
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
                            metrics.exchangeBytes()));
        }
        logged.ifPresent(this::reportLogged);
    }

    private void reportLogged(Map<String, Double> values) {
        if (!values.isEmpty()) {
            parts.reporter().event(new RankEvent.Logged(0, state.step(), values));
        }
    }

    private boolean evaluatesNow(StepBatches batches) {
        return parts.evaluation().isPresent()
                && switch (config.evaluation().strategy()) {
                    case NO -> false;
                    case STEPS -> state.step() % config.evaluation().steps() == 0;
                    case EPOCH -> batches.endsEpoch();
                };
    }

    private void evaluate() throws IOException {
        parts.reporter().phase("evaluate", state.step());
        TrainerLog.Evaluation result = parts.evaluation().orElseThrow().run();
        parts.log().map(log -> log.evaluated(result)).ifPresent(this::reportLogged);
        if (parts.reporter().rank() == 0) {
            parts.reporter().event(new RankEvent.Evaluated(0, state.step(), result.loss()));
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
        Optional<String> path = parts.checkpoints().save(parts.model(), state, trainerState);
        path.ifPresent(saved -> parts.reporter().event(new RankEvent.Saved(0, state.step(), saved)));
    }
}
