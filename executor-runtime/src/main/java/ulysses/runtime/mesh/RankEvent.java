package ulysses.runtime.mesh;

import com.fasterxml.jackson.annotation.JsonSubTypes;
import com.fasterxml.jackson.annotation.JsonTypeInfo;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * What a rank process, or its task, reports: one JSON object a line on its standard output. Anything that is not such a line belongs on standard
 * error. Every event counts as a sign of life.
 */
@JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = "event")
@JsonSubTypes({
    @JsonSubTypes.Type(value = RankEvent.StoreOpen.class, name = "store"),
    @JsonSubTypes.Type(value = RankEvent.Placed.class, name = "placed"),
    @JsonSubTypes.Type(value = RankEvent.Phase.class, name = "phase"),
    @JsonSubTypes.Type(value = RankEvent.Step.class, name = "step"),
    @JsonSubTypes.Type(value = RankEvent.Measured.class, name = "measured"),
    @JsonSubTypes.Type(value = RankEvent.Logged.class, name = "logged"),
    @JsonSubTypes.Type(value = RankEvent.Evaluated.class, name = "evaluated"),
    @JsonSubTypes.Type(value = RankEvent.Saved.class, name = "saved"),
    @JsonSubTypes.Type(value = RankEvent.Warning.class, name = "warning"),
    @JsonSubTypes.Type(value = RankEvent.Failed.class, name = "failed"),
    @JsonSubTypes.Type(value = RankEvent.Done.class, name = "done")
})
public sealed interface RankEvent {

    /** World rank of the process that speaks. */
    int rank();

    /** Rank 0's rendezvous store listens on {@code port}. */
    record StoreOpen(int rank, int port) implements RankEvent {}

    /**
     * The rank got its place; its task says so, at the beginning of every attempt.
     *
     * @param host its machine
     * @param device what identifies its GPU there; null on CPU
     * @param attempt that begins, from 1: one that begins anew may have fewer ranks
     */
    record Placed(int rank, String host, @Nullable String device, int attempt) implements RankEvent {}

    /** The rank begins {@code phase} (connect, load, step, evaluate, checkpoint, export) at optimizer step {@code step}. */
    record Phase(int rank, String phase, long step) implements RankEvent {

        /** What the phase is called in which optimizer steps are done. */
        public static final String STEP = "step";
    }

    /**
     * An optimizer step is done; only rank 0 reports it.
     *
     * @param step optimizer steps done, from 1
     * @param totalSteps steps of the run
     * @param epoch passes over the data done, fractional
     * @param loss mean over the trained tokens of the step, all ranks together
     * @param gradNorm before clipping
     * @param learningRate the one this step used
     * @param tokens tokens of this step over all data-parallel groups, padding left out
     * @param seconds time of this step
     * @param peakBytes largest resident or device memory of rank 0 so far
     */
    record Step(
            int rank,
            long step,
            long totalSteps,
            double epoch,
            double loss,
            double gradNorm,
            double learningRate,
            long tokens,
            double seconds,
            long peakBytes)
            implements RankEvent {}

    /**
     * Where the time and traffic of a step went; only rank 0 reports it, after its {@link Step}.
     *
     * @param step optimizer steps done, from 1
     * @param computeSeconds forward and backward of all micro-batches, exchanges included
     * @param reduceSeconds summing gradients over ranks
     * @param optimizerSeconds norm, clipping and update
     * @param exchangeBytes that rank 0 put into all-to-alls in this step, its own part included
     * @param phases seconds of the parts of compute by their names: projections, exchange, attention, mlp, loss
     * @param waitShare of the time until gradients are summed, how much ranks waited for slower ones, all ranks together
     * @param operations floating-point operations that the step needs, all ranks together: forward and backward of the trained model,
     *     recomputation left out
     */
    record Measured(
            int rank,
            long step,
            double computeSeconds,
            double reduceSeconds,
            double optimizerSeconds,
            long exchangeBytes,
            Map<String, Double> phases,
            double waitShare,
            double operations)
            implements RankEvent {
        public Measured {
            phases = Map.copyOf(phases);
        }
    }

    /**
     * What {@code trainer_state.json} got at {@code step}, a logging step or an evaluation; only rank 0 reports it, after the step's
     * {@link Step} and {@link Measured}.
     *
     * @param values numbers by their names in the log, in its order: loss, grad_norm, eval_loss, rewards/margins
     */
    record Logged(int rank, long step, Map<String, Double> values) implements RankEvent {
        public Logged {
            values = Collections.unmodifiableMap(new LinkedHashMap<>(values));
        }
    }

    /** Evaluation of {@code set}, by its name, after {@code step} gave {@code loss}; only rank 0 reports it. */
    record Evaluated(int rank, long step, String set, double loss) implements RankEvent {}

    /** A checkpoint of {@code step} is complete at {@code path}; only rank 0 reports it. */
    record Saved(int rank, long step, String path) implements RankEvent {}

    /** Something the user should read. */
    record Warning(int rank, String message) implements RankEvent {}

    /**
     * The rank ends because of {@code message}; {@code kind} is config, data, diverged, storage, infrastructure where a new attempt may do
     * better, or {@link #INTERNAL}.
     */
    record Failed(int rank, long step, String kind, String message) implements RankEvent {
        /** A fault of the program. */
        public static final String INTERNAL = "internal";
    }

    /** The rank has finished its work; the last event. */
    record Done(int rank, long steps) implements RankEvent {}
}
