package ulysses.runtime.training;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.ToDoubleFunction;
import org.bytedeco.pytorch.Tensor;
import ulysses.runtime.attention.SequenceLayout;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.Timeline;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.CausalLm;
import ulysses.runtime.objective.Objective;
import ulysses.runtime.segment.PhaseClock;
import ulysses.runtime.segment.Segment;

/**
 * One micro-batch through model and objective on this rank: it takes its part of the sequence and works on it together with the
 * ranks of its group. Collective: all ranks of the group call the same method with the same micro-batch.
 */
public final class SequenceStep {

    private final CausalLm model;
    private final Objective objective;
    private final Collectives group;
    private final Timeline timeline;
    private final ToDoubleFunction<MicroBatch> operations;

    /** {@code group} shares each sequence. */
    public SequenceStep(CausalLm model, Objective objective, Collectives group) {
        this(model, objective, group, Timeline.OFF, batch -> 0);
    }

    /**
     * The same with its phases recorded on {@code timeline}.
     *
     * @param operations floating-point operations of the group for a micro-batch
     */
    SequenceStep(
            CausalLm model,
            Objective objective,
            Collectives group,
            Timeline timeline,
            ToDoubleFunction<MicroBatch> operations) {
        this.model = model;
        this.objective = objective;
        this.group = group;
        this.timeline = timeline;
        this.operations = operations;
    }

    /** Where phases are recorded. */
    Timeline timeline() {
        return timeline;
    }

    /**
     * Forward and backward; gradients are added to those of earlier micro-batches.
     *
     * @param terms of the whole optimizer step, see {@link #terms}: what the loss is divided by
     * @return sums of this rank
     */
    public Objective.Sums forwardBackward(MicroBatch batch, long terms) {
        MicroBatch.Slice slice = batch.slice(group.rank(), group.size());
        double[] reference = objective.reference(batch);
        try (TensorScope scope = TensorScope.open()) {
            SequenceLayout layout = new SequenceLayout(batch.documentEnds());
            Segment layers = objective.allowsDropout()
                    ? model.training(layout, slice.positions(), slice.numbers())
                    : model.on(layout, slice.positions());
            try (Segment.Pass pass = forward(layers, slice)) {
                Objective.Part part = new Objective.Part(batch, slice, reference, pass.output());
                Objective.Outcome outcome = lossAndGradient(part, Math.max(1, terms));
                try (Timeline.Span span = timeline.span("backward")) {
                    model.embedBackward(slice.ids(), pass.backward(outcome.dHidden()));
                }
                return outcome.sums();
            }
        }
    }

    private Segment.Pass forward(Segment layers, MicroBatch.Slice slice) {
        try (Timeline.Span span = timeline.span("forward")) {
            return layers.forward(model.embed(slice.ids())); // [s,D]
        }
    }

    private Objective.Outcome lossAndGradient(Objective.Part part, long terms) {
        try (Timeline.Span span = timeline.span("head and loss");
                CausalLm.HeadUse head = model.trainHead();
                PhaseClock.Span time = model.clock().start(PhaseClock.Phase.LOSS)) {
            return objective.lossAndGradient(part, terms);
        }
    }

    /** Forward only: the sums of this rank. */
    public Objective.Sums sums(MicroBatch batch) {
        MicroBatch.Slice slice = batch.slice(group.rank(), group.size());
        double[] reference = objective.reference(batch);
        try (TensorScope scope = TensorScope.open()) {
            Segment layers = model.on(new SequenceLayout(batch.documentEnds()), slice.positions());
            Tensor hidden = layers.infer(model.embed(slice.ids())); // [s,D]
            try (CausalLm.HeadUse head = model.useHead()) {
                return objective.sums(new Objective.Part(batch, slice, reference, hidden));
            }
        }
    }

    /** What loss and metrics of a step are the mean of, and are divided by, but for 0: tokens that are trained on, or pairs. */
    public long terms(StepBatches step) {
        return objective.terms(step);
    }

    /** This rank's part of the operations of {@code step}: parts add up over all ranks. */
    double operations(StepBatches step) {
        return step.microBatches().stream().mapToDouble(operations).sum() / group.size();
    }

    /** Sums of no micro-batch. */
    Objective.Sums nothing() {
        return objective.nothing();
    }

    /** The sums of all ranks as means over {@code terms}: the loss, and what is measured beside it. Collective over all ranks. */
    Means means(Objective.Sums sums, long terms, Agreement agreement) {
        double[] all = new double[sums.metrics().length + 1];
        all[0] = sums.loss();
        System.arraycopy(sums.metrics(), 0, all, 1, sums.metrics().length);
        double[] total = agreement.sum(all);
        long divisor = Math.max(1, terms);
        Map<String, Double> metrics = new LinkedHashMap<>();
        for (int i = 0; i < objective.metrics().size(); i++) {
            metrics.put(objective.metrics().get(i), total[i + 1] / divisor);
        }
        return new Means(total[0] / divisor, metrics);
    }

    /**
     * Means over all ranks and micro-batches of a step.
     *
     * @param loss what is minimised
     * @param metrics what is measured beside it, by its name in logs
     */
    record Means(double loss, Map<String, Double> metrics) {}

    /** Seconds of the parts of forward and backward since the last call. */
    Map<PhaseClock.Phase, Double> takePhases() {
        return model.clock().take();
    }

    /** Bytes that this rank has put into all-to-alls so far, its own part included. */
    long exchangedBytes() {
        return group.traffic().total(Collectives.Operation.ALL_TO_ALL);
    }
}
