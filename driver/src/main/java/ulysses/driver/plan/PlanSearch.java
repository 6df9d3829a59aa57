package ulysses.driver.plan;

import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Function;
import java.util.stream.IntStream;
import ulysses.runtime.config.ActivationMemory;

/**
 * The fastest way to run the same steps on the same ranks: every group size, ZeRO stage, offload, micro-batch and what layers keep
 * is planned. A step keeps its rows, so the result is the same. What offload costs is not in the time, so it is only taken where
 * nothing fits without.
 *
 * @param tried all plans
 * @param fitting those that fit, the best first
 */
public record PlanSearch(int tried, List<RunPlan> fitting) {
    private static final List<ActivationMemory> KEPT =
            List.of(ActivationMemory.NONE, ActivationMemory.ATTENTION, ActivationMemory.FULL);
    private static final int STAGES = 4;

    /** Offload last; then the fastest; then what asks for the least. */
    private static final Comparator<RunPlan> ORDER = Comparator.comparingInt(
                    (RunPlan plan) -> plan.shape().mesh().states().offloads())
            .thenComparingDouble(plan -> plan.time().total())
            .thenComparingInt(plan -> plan.shape().mesh().states().zeroStage())
            .thenComparingInt(plan -> plan.shape().mesh().group())
            .thenComparingLong(plan -> plan.memory().peak());

    public PlanSearch {
        fitting = List.copyOf(fitting);
    }

    /**
     * A setting of the best plan.
     *
     * @param key as it stands in a YAML
     * @param reason what the best plan with another value would be
     */
    public record Choice(String key, String value, String reason) {}

    /** All shapes of {@code shape}'s step on as many ranks, each on {@code hardware}. */
    public static PlanSearch of(RunShape shape, HardwareProfile hardware) {
        List<RunPlan> plans = shapes(shape).stream()
                .map(candidate -> RunPlan.of(candidate, hardware))
                .toList();
        return new PlanSearch(
                plans.size(), plans.stream().filter(RunPlan::fits).sorted(ORDER).toList());
    }

    private static List<RunShape> shapes(RunShape shape) {
        int ranks = shape.mesh().ranks();
        int rowsOfStep = shape.batch().rows()
                * shape.batch().accumulation()
                * shape.mesh().groups();
        List<RunShape> shapes = new ArrayList<>();
        for (int group : divisors(ranks)) {
            int groups = ranks / group;
            if (group > shape.model().heads() || shape.rowTokens() % group != 0 || rowsOfStep % groups != 0) {
                continue;
            }
            for (int rows : divisors(rowsOfStep / groups)) {
                RunShape.Batch batch = new RunShape.Batch(rows, rowsOfStep / groups / rows);
                for (int stage = 0; stage < (ranks == 1 ? 1 : STAGES); stage++) {
                    for (RunShape.States states : shape.mesh().states().offloadsOf(stage)) {
                        RunShape.Mesh mesh = new RunShape.Mesh(groups, group, states);
                        KEPT.forEach(kept -> shapes.add(with(shape, kept, batch, mesh)));
                    }
                }
            }
        }
        return shapes;
    }

    private static List<Integer> divisors(int number) {
        return IntStream.rangeClosed(1, number)
                .filter(divisor -> number % divisor == 0)
                .boxed()
                .toList();
    }

    private static RunShape with(RunShape shape, ActivationMemory kept, RunShape.Batch batch, RunShape.Mesh mesh) {
        return new RunShape(
                shape.tuned(),
                shape.compute(),
                kept,
                shape.device(),
                shape.rowTokens(),
                batch,
                mesh,
                shape.comparison());
    }

    /** The best plan; empty when none fits. */
    public Optional<RunPlan> best() {
        return fitting.stream().findFirst();
    }

    /** The settings of the best plan, each with what another value would give; none when no plan fits. */
    public List<Choice> choices() {
        return best().map(best -> List.of(
                        choice(
                                "sequence_parallel_size",
                                plan -> plan.shape().mesh().group()),
                        choice(
                                "zero_stage",
                                plan -> plan.shape().mesh().states().zeroStage()),
                        choice(
                                "offload_optimizer",
                                plan -> plan.shape().mesh().states().offloadsOptimizer()),
                        choice(
                                "offload_activations",
                                plan -> plan.shape().mesh().states().offloadsActivations()),
                        choice(
                                "per_device_train_batch_size",
                                plan -> plan.shape().batch().rows()),
                        choice("activation_memory", plan -> plan.shape().activations())))
                .orElse(List.of());
    }

    private Choice choice(String key, Function<RunPlan, Object> value) {
        RunPlan best = fitting.get(0);
        Object chosen = value.apply(best);
        String reason = fitting.stream()
                .filter(plan -> !value.apply(plan).equals(chosen))
                .findFirst()
                .map(other -> compared(String.valueOf(value.apply(other)), other, best))
                .orElse("nothing else fits");
        return new Choice(key, String.valueOf(chosen), reason);
    }

    private static String compared(String value, RunPlan other, RunPlan best) {
        double times = other.time().total() / best.time().total();
        String longer = times < 1.005 ? "as long" : String.format(Locale.ROOT, "%.2f times as long", times);
        return "the best with %s takes %s, and %.0f %% of the memory it may use instead of %.0f %%"
                .formatted(value, longer, share(other), share(best));
    }

    private static double share(RunPlan plan) {
        return 100.0 * plan.memory().peak() / plan.hardware().usableBytes();
    }
}
