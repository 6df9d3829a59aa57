package ulysses.driver.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalInt;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.AttentionPattern;

/**
 * A run on a device: whether it fits, how long a step takes, and the smallest change that would fit.
 *
 * @param shape the run
 * @param hardware what each rank has
 * @param memory of a rank
 * @param communication of a rank and step
 * @param time of a step
 */
public record RunPlan(
        RunShape shape,
        HardwareProfile hardware,
        MemoryEstimate memory,
        StepCommunication communication,
        StepTimeEstimate time) {

    /** Lengths are tried in steps of this many tokens a rank. */
    private static final int LENGTH_STEP = 64;

    private static final long LONGEST = 1L << 27; // tokens; beyond any use, and small enough for int

    /** The plan of {@code shape} on {@code hardware}. */
    public static RunPlan of(RunShape shape, HardwareProfile hardware) {
        return new RunPlan(
                shape,
                hardware,
                MemoryEstimate.of(shape, hardware),
                StepCommunication.of(shape),
                StepTimeEstimate.of(shape, hardware));
    }

    /** Whether a rank's peak is within what may be used. */
    public boolean fits() {
        return fits(shape);
    }

    private boolean fits(RunShape other) {
        return MemoryEstimate.of(other, hardware).peak() <= hardware.usableBytes();
    }

    /** Why the device can't run this at all, whatever its memory. */
    public Optional<String> refusal() {
        if (hardware.isCpu()) {
            return Optional.empty();
        }
        return shape.model().patterns().stream().allMatch(AttentionPattern::isPlainWindow)
                ? Optional.empty()
                : Optional.of(AttentionPattern.CPU_ONLY);
    }

    /** The longest rows that fit, a multiple of 64 tokens a rank; empty when none do. */
    public OptionalInt longestRow() {
        return longestRow(shape);
    }

    private OptionalInt longestRow(RunShape of) {
        int step = LENGTH_STEP * of.mesh().group();
        long fitting = 0;
        long beyond = LONGEST / step;
        while (beyond - fitting > 1) {
            long middle = (fitting + beyond) / 2;
            if (fits(of.withRowTokens((int) (middle * step)))) {
                fitting = middle;
            } else {
                beyond = middle;
            }
        }
        return fitting == 0 ? OptionalInt.empty() : OptionalInt.of((int) (fitting * step));
    }

    /**
     * Changes of which each alone makes the run fit, those that change the least of it first; a larger group together with shorter
     * rows when nothing alone does; none when not even that.
     */
    public List<String> changes() {
        List<String> changes = new ArrayList<>();
        lessKept().ifPresent(changes::add);
        furtherStage().ifPresent(changes::add);
        if (!shape.mesh().states().offloadsOptimizer() && fits(shape.withOffloadedOptimizer())) {
            changes.add("offload_optimizer: true");
        }
        if (!shape.mesh().states().offloadsActivations() && fits(shape.withOffloadedActivations())) {
            changes.add("offload_activations: true");
        }
        fewerRows().ifPresent(changes::add);
        largerGroup().ifPresent(changes::add);
        if (!shape.isBfloat16() && fits(shape.inBfloat16())) {
            changes.add("bf16: true");
        }
        longestRow().ifPresent(length -> changes.add("cutoff_len: " + length));
        if (changes.isEmpty()) {
            int group = shape.model().heads();
            longestRow(shape.withGroup(group))
                    .ifPresent(length -> changes.add("sequence_parallel_size: %d and cutoff_len: %d (num_ranks: %d)"
                            .formatted(
                                    group, length, shape.withGroup(group).mesh().ranks())));
        }
        return changes;
    }

    private Optional<String> lessKept() {
        for (ActivationMemory less : List.of(ActivationMemory.ATTENTION, ActivationMemory.NONE)) {
            boolean isLess = MemoryEstimate.of(shape.keeping(less), hardware).peak() < memory.peak();
            if (isLess && fits(shape.keeping(less))) {
                return Optional.of("activation_memory: " + less);
            }
        }
        return Optional.empty();
    }

    private Optional<String> furtherStage() {
        for (int stage = shape.mesh().states().zeroStage() + 1;
                stage <= 3 && shape.mesh().ranks() > 1;
                stage++) {
            if (fits(shape.withStage(stage))) {
                return Optional.of("zero_stage: " + stage);
            }
        }
        return Optional.empty();
    }

    private Optional<String> fewerRows() {
        for (int rows = shape.batch().rows() - 1; rows > 0; rows--) {
            if (fits(shape.withRows(rows))) {
                return Optional.of("per_device_train_batch_size: " + rows);
            }
        }
        return Optional.empty();
    }

    /** The next larger group that fits and divides the rows, since preparing asks for that. */
    private Optional<String> largerGroup() {
        for (int group = shape.mesh().group() + 1; group <= shape.model().heads(); group++) {
            if (shape.rowTokens() % group == 0 && fits(shape.withGroup(group))) {
                return Optional.of("sequence_parallel_size: %d (num_ranks: %d)"
                        .formatted(group, shape.withGroup(group).mesh().ranks()));
            }
        }
        return Optional.empty();
    }

    /** One sentence: fits, or what would. */
    public String verdict() {
        double gib = 1L << 30;
        if (fits()) {
            return String.format(
                    Locale.ROOT,
                    "fits: %.2f of %.2f GiB (%.0f %%)",
                    memory.peak() / gib,
                    hardware.memoryGib(),
                    100.0 * memory.peak() / hardware.memoryBytes());
        }
        List<String> changes = changes();
        String advice = changes.isEmpty()
                ? String.format(
                        Locale.ROOT,
                        "no length fits: weights, gradients and optimizer states take %.2f GiB of every rank",
                        memory.permanent() / gib)
                : "would fit with " + String.join(", or ", changes);
        return String.format(
                Locale.ROOT,
                "does not fit: %.2f GiB, and %.2f of %.2f GiB are counted on; %s",
                memory.peak() / gib,
                hardware.usableBytes() / gib,
                hardware.memoryGib(),
                advice);
    }
}
