package ulysses.job;

import java.io.PrintStream;
import java.util.List;
import java.util.Locale;
import ulysses.driver.plan.HardwareProfile;
import ulysses.driver.plan.MemoryEstimate;
import ulysses.driver.plan.MemoryEstimate.Line;
import ulysses.driver.plan.MemoryEstimate.Moment;
import ulysses.driver.plan.PlanSearch;
import ulysses.driver.plan.RunPlan;
import ulysses.driver.plan.RunShape;
import ulysses.driver.plan.StepCommunication;
import ulysses.driver.plan.StepTimeEstimate;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.weights.HubCacheFolder;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterPlan;

/** A plan as people read it. */
final class PlanText {
    private static final double GIB = 1L << 30;
    private static final double MIB = 1L << 20;

    private final TrainingConfig config;
    private final PrintStream out;

    PlanText(TrainingConfig config, PrintStream out) {
        this.config = config;
        this.out = out;
    }

    /** Everything about one device. */
    void details(RunPlan plan) {
        run(plan.shape());
        memory(plan);
        communication(plan);
        time(plan);
    }

    private static String trained(RunShape shape) {
        ParameterPlan plan = shape.tuned().plan();
        if (plan.frozen().isEmpty()) {
            return "";
        }
        String what =
                shape.tuned().adapter().isPresent() ? " (frozen) and an adapter of %,d" : ", of which %,d are trained";
        return String.format(Locale.ROOT, what, plan.trainedElements());
    }

    private void run(RunShape shape) {
        ModelSpec model = shape.model();
        RunShape.Mesh mesh = shape.mesh();
        print(String.format(
                Locale.ROOT,
                "model  %s: %,d parameters%s, %d layers, D %d, F %d, N %d, K %d, H %d, V %d",
                HubCacheFolder.idOf(config.model().modelNameOrPath()),
                model.parameterCount(),
                trained(shape),
                model.layers(),
                model.hiddenSize(),
                model.mlpSize(),
                model.heads(),
                model.kvHeads(),
                model.headSize(),
                model.vocabularySize()));
        print(String.format(
                Locale.ROOT,
                "ranks  %d%s: %d x sequence_parallel_size %d; %s, activation_memory %s%s",
                mesh.ranks(),
                config.parallel().ranks() == 0 ? " (num_ranks is left to the cluster; planned for one group)" : "",
                mesh.groups(),
                mesh.group(),
                shape.compute().name().toLowerCase(Locale.ROOT),
                shape.activations(),
                mesh.states().zeroStage() > 0 ? ", zero_stage " + mesh.states().zeroStage() : ""));
        print(String.format(
                Locale.ROOT,
                "batch  %d x %,d tokens a group and micro-batch (S %,d, s %,d), gradient_accumulation_steps %d",
                shape.batch().rows(),
                shape.rowTokens() * shape.comparison().answers(),
                shape.sequence(),
                shape.part(),
                shape.batch().accumulation()));
        if (model.heads() % mesh.group() != 0 || model.kvHeads() % mesh.group() != 0) {
            print(
                    ("heads  %d query and %d kv heads don't divide by %d: the busiest rank computes %d and %d; q, k, v travel as"
                                    + " %d heads instead of %d")
                            .formatted(
                                    model.heads(),
                                    model.kvHeads(),
                                    mesh.group(),
                                    shape.heads().mostQueries(),
                                    shape.heads().mostKvs(),
                                    shape.heads().packed(),
                                    model.heads() + 2 * model.kvHeads()));
        }
    }

    private void memory(RunPlan plan) {
        MemoryEstimate memory = plan.memory();
        print("");
        print("memory of a rank on %s".formatted(plan.hardware().name()));
        lines(memory, List.of(Moment.PROCESS, Moment.RUN), " ");
        print("  from forward to backward of a micro-batch");
        lines(memory, List.of(Moment.MICRO_BATCH), " ");
        print("  one of these at a time (* comes into the peak)");
        for (Moment moment : MemoryEstimate.IN_TURN) {
            lines(memory, List.of(moment), moment == memory.dearest() ? "*" : " ");
        }
        print("  = %-20s %s".formatted("peak", size(memory.peak())));
        print("  " + plan.refusal().orElseGet(plan::verdict));
        plan.longestRow()
                .ifPresent(length -> print(String.format(Locale.ROOT, "  longest cutoff_len that fits: %,d", length)));
    }

    private void lines(MemoryEstimate memory, List<Moment> moments, String mark) {
        for (Line line : memory.lines()) {
            if (moments.contains(line.moment())) {
                print("  %s %-20s %s  %s".formatted(mark, line.name(), size(line.bytes()), line.how()));
            }
        }
    }

    private static String size(long bytes) {
        return bytes < GIB
                ? String.format(Locale.ROOT, "%8.1f MiB", bytes / MIB)
                : String.format(Locale.ROOT, "%8.2f GiB", bytes / GIB);
    }

    private void communication(RunPlan plan) {
        RunShape.Mesh mesh = plan.shape().mesh();
        print("");
        print("communication of a rank in a step (own part included; what leaves it)");
        moved(
                "all-to-all",
                plan.communication().allToAll(),
                plan.communication().allToAllSent(mesh.group()));
        StepCommunication moved = plan.communication();
        if (moved.reduceScatter() == 0) {
            moved("all-reduce", moved.allReduce(), moved.allReduceSent(mesh.ranks()));
        } else {
            moved("reduce-scatter", moved.reduceScatter(), moved.reduceScatterSent(mesh.ranks()));
            moved("all-gather", moved.allGather(), moved.allGatherSent(mesh.ranks()));
        }
    }

    private void moved(String operation, long bytes, long sent) {
        print("  %-14s %s; %s".formatted(operation, ByteSize.text(bytes), ByteSize.text(sent)));
    }

    private void time(RunPlan plan) {
        StepTimeEstimate time = plan.time();
        print("");
        print("time of a step on %s".formatted(plan.hardware().name()));
        part("matrix products", time.matmul(), time);
        part("attention", time.attention(), time);
        part("all-to-all", time.allToAll(), time);
        part("states of ranks", time.states(), time);
        part("optimizer", time.optimizer(), time);
        print(String.format(
                Locale.ROOT, "  = %-16s %10s  %,.0f tokens/s", "step", time(time.total()), time.tokensPerSecond()));
    }

    private static String time(double seconds) {
        return seconds < 1
                ? String.format(Locale.ROOT, "%.2f ms", seconds * 1e3)
                : String.format(Locale.ROOT, "%,.2f s", seconds);
    }

    private void part(String name, double seconds, StepTimeEstimate time) {
        print(String.format(
                Locale.ROOT, "    %-16s %10s  %3.0f %%", name, time(seconds), 100 * seconds / time.total()));
    }

    /** The fastest shape of the same step on the same ranks, setting by setting. */
    void best(PlanSearch search, RunPlan asked) {
        int ranks = asked.shape().mesh().ranks();
        print("");
        print("best of %,d ways to run this step on %d rank%s of %s; %,d of them fit"
                .formatted(
                        search.tried(),
                        ranks,
                        ranks == 1 ? "" : "s",
                        asked.hardware().name(),
                        search.fitting().size()));
        search.choices()
                .forEach(
                        choice -> print("  %-32s %s".formatted(choice.key() + ": " + choice.value(), choice.reason())));
        search.best().ifPresent(best -> {
            print("  gradient_accumulation_steps: %d for the same rows a step"
                    .formatted(best.shape().batch().accumulation()));
            print(String.format(
                    Locale.ROOT,
                    "  = %-16s %10s  %,.0f tokens/s, %.2f GiB; as configured %s",
                    "step",
                    time(best.time().total()),
                    best.time().tokensPerSecond(),
                    best.memory().peak() / GIB,
                    asked.fits() ? time(asked.time().total()) : "it does not fit"));
        });
    }

    /** One line for each. */
    void others(List<RunPlan> plans) {
        print("");
        print("other devices");
        for (RunPlan plan : plans) {
            String step = plan.refusal().isEmpty() && plan.fits()
                    ? String.format(
                            Locale.ROOT,
                            "; %s a step, %,.0f tokens/s",
                            time(plan.time().total()),
                            plan.time().tokensPerSecond())
                    : "";
            print("  %-8s %s%s".formatted(plan.hardware().name(), plan.refusal().orElseGet(plan::verdict), step));
        }
    }

    /** What the numbers rest on. */
    void assumptions() {
        print("");
        print("assumes");
        print(
                "  every row is full, one document long and trained on from end to end: memory and time at their highest");
        print("  what zero_stage does not cut is whole on every rank");
        print(
                "  parts of a step follow each other; work bound by memory inside layers is in the shares of hardware.yaml");
        print("  device figures are those of hardware.yaml, which says what was measured");
        print("  %s ranks share this machine's cores and memory evenly".formatted(HardwareProfile.CPU));
    }

    private void print(String line) {
        out.println(line);
    }
}
