package ulysses.runtime.training;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import ulysses.runtime.collective.Timeline;
import ulysses.runtime.config.StrategyConfig;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.gradient.GradientBuckets;
import ulysses.runtime.gradient.GradientSlices;
import ulysses.runtime.gradient.GradientStrategies;
import ulysses.runtime.model.ParameterSharing;
import ulysses.runtime.objective.Objective;
import ulysses.runtime.optimizer.AdamW;

/**
 * One optimizer step: micro-batches, loss, gradients, strategies, clipping, optimizer. Collective: all ranks call it with their batches of the
 * same step.
 */
public final class TrainStep {

    private final SequenceStep sequence;
    private final ParameterSharing sharing;
    private final GradientBuckets gradients;
    private final GradientSlices slices;
    private final AdamW optimizer;
    private final Agreement agreement;
    private final GradientStrategies strategies;
    private final double maxGradNorm;

    /** Without gradient strategies; {@code maxGradNorm} of 0 means no clipping. */
    public TrainStep(SequenceStep sequence, ParameterSharing sharing, AdamW optimizer, double maxGradNorm) {
        this(sequence, sharing, optimizer, maxGradNorm, new GradientStrategies(StrategyConfig.NONE, 0));
    }

    /**
     * {@code maxGradNorm} of 0 means no clipping.
     *
     * @param sharing of the parameters over all ranks; where gradients or weights are cut, the one that the model computes with
     */
    public TrainStep(
            SequenceStep sequence,
            ParameterSharing sharing,
            AdamW optimizer,
            double maxGradNorm,
            GradientStrategies strategies) {
        this.sequence = sequence;
        this.sharing = sharing;
        this.gradients = new GradientBuckets(sharing);
        this.slices = new GradientSlices(sharing);
        this.optimizer = optimizer;
        this.agreement = new Agreement(sharing.world(), sharing.parameters().device());
        this.maxGradNorm = maxGradNorm;
        this.strategies = strategies;
    }

    /** Runs the step with {@code learningRate}. */
    public StepMetrics run(StepBatches batches, double learningRate) {
        long begin = System.nanoTime();
        long exchangedBefore = sequence.exchangedBytes();
        double waitedBefore = sharing.world().traffic().waitedSeconds();
        sequence.takePhases(); // those of an evaluation since the last step
        sharing.parameters().zeroGradients();
        long terms = sequence.terms(batches);
        Objective.Sums sums = sequence.nothing();
        List<Long> notFinite = new ArrayList<>();
        for (int i = 0; i < batches.microBatches().size(); i++) {
            Objective.Sums one = sequence.forwardBackward(batches.microBatches().get(i), terms);
            if (!Double.isFinite(one.loss())) {
                notFinite.add((long) i);
            }
            sums = sums.plus(one);
        }
        long computed = System.nanoTime();
        double waited = sharing.world().traffic().waitedSeconds() - waitedBefore;
        SequenceStep.Means means = reduced(sums, terms);
        long reduced = System.nanoTime();
        double norm = norm();
        boolean finite = Double.isFinite(norm) && Double.isFinite(means.loss());
        GradientStrategies.Outcome outcome = finite ? update(norm, learningRate) : GradientStrategies.Outcome.NOTHING;
        long updated = System.nanoTime();
        Together together = together((computed - begin) / 1e9 - waited, sequence.operations(batches));
        return new StepMetrics(
                means.loss(),
                means.metrics(),
                terms,
                norm,
                learningRate * outcome.rateFactor(),
                batches.globalTokens(),
                batches.globalTrainedTokens(),
                finite,
                finite ? List.of() : suspects(notFinite),
                (computed - begin) / 1e9,
                (reduced - computed) / 1e9,
                (updated - reduced) / 1e9,
                phases(),
                together.waitShare(),
                together.operations(),
                sequence.exchangedBytes() - exchangedBefore,
                outcome);
    }

    private SequenceStep.Means reduced(Objective.Sums sums, long terms) {
        try (Timeline.Span span = sequence.timeline().span("sum gradients over ranks")) {
            gradients.reduce();
            return sequence.means(sums, terms, agreement);
        }
    }

    private double norm() {
        try (Timeline.Span span = sequence.timeline().span("gradient norm")) {
            return gradients.norm();
        }
    }

    private Map<String, Double> phases() {
        Map<String, Double> phases = new HashMap<>();
        sequence.takePhases()
                .forEach((phase, seconds) -> phases.put(phase.name().toLowerCase(Locale.ROOT), seconds));
        return phases;
    }

    private record Together(double waitShare, double operations) {}

    /**
     * Collective: what only all ranks together know.
     *
     * @param busy seconds that this rank computed, waits for other groups left out
     * @param operations its part of them
     */
    private Together together(double busy, double operations) {
        int ranks = sharing.world().size();
        double[] ofThis = new double[ranks + 1];
        ofThis[sharing.world().rank()] = busy;
        ofThis[ranks] = operations;
        double[] all = agreement.sum(ofThis);
        double[] times = Arrays.copyOf(all, ranks);
        double slowest = Arrays.stream(times).max().orElse(0);
        double waitShare = slowest > 0 ? 1 - Arrays.stream(times).average().orElse(0) / slowest : 0;
        return new Together(waitShare, all[ranks]);
    }

    /** Collective; called by all ranks or by none, since what is not finite is so on all of them after the sums. */
    private List<StepMetrics.Suspect> suspects(List<Long> ofThisRank) {
        List<StepMetrics.Suspect> all = new ArrayList<>();
        List<long[]> ofRanks =
                agreement.gather(ofThisRank.stream().mapToLong(Long::longValue).toArray());
        for (int rank = 0; rank < ofRanks.size(); rank++) {
            for (long microBatch : ofRanks.get(rank)) {
                all.add(new StepMetrics.Suspect(rank, Math.toIntExact(microBatch)));
            }
        }
        return all;
    }

    private GradientStrategies.Outcome update(double norm, double learningRate) {
        GradientStrategies.Outcome outcome = strategies.apply(slices, optimizer.steps(), norm);
        gradients.clip(outcome.changesGradients() ? gradients.norm() : norm, strategies.limit(outcome, maxGradNorm));
        try (Timeline.Span span = sequence.timeline().span("optimizer")) {
            optimizer.step(learningRate * outcome.rateFactor());
            sharing.publishWeights();
        }
        return outcome;
    }
}
