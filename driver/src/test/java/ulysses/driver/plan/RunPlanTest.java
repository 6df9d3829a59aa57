package ulysses.driver.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.junit.jupiter.api.Test;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig.Device;

class RunPlanTest {
    private static final RunShape SHAPE = SmallRun.shape(1).withRowTokens(4096);

    @Test
    void fitsExactlyUpToTheUsableShare() {
        long peak = peak(SHAPE);

        assertThat(on(SHAPE, peak + 1).fits()).isTrue();
        assertThat(on(SHAPE, peak - 2).fits()).isFalse();
        assertThat(on(SHAPE, peak + 1).verdict()).startsWith("fits: 0.00 of 0.00 GiB (95 %)");
    }

    @Test
    void namesChangesOfWhichEachAloneFits() {
        RunShape twoRows = SHAPE.withRows(2);

        RunPlan plan = on(twoRows, peak(twoRows.withGroup(2)));

        int longest = plan.longestRow().orElseThrow();
        assertThat(plan.fits()).isFalse();
        assertThat(longest).isBetween(2048, 4096);
        assertThat(plan.changes())
                .containsExactly(
                        "per_device_train_batch_size: 1",
                        "sequence_parallel_size: 2 (num_ranks: 2)",
                        "cutoff_len: " + longest);
        assertThat(plan.verdict())
                .startsWith("does not fit: ")
                .endsWith(
                        "would fit with per_device_train_batch_size: 1, or sequence_parallel_size: 2 (num_ranks: 2), or"
                                + " cutoff_len: " + longest);
    }

    @Test
    void theLongestRowIsTheLastThatFits() {
        RunPlan plan = on(SHAPE, peak(SHAPE.withRowTokens(3000)));

        int longest = plan.longestRow().orElseThrow();

        assertThat(longest).isEqualTo(2944).isEqualTo(3000 / 64 * 64);
        assertThat(on(SHAPE.withRowTokens(longest), plan.hardware().usableBytes())
                        .fits())
                .isTrue();
        assertThat(peak(SHAPE.withRowTokens(longest + 64)))
                .isGreaterThan(plan.hardware().usableBytes());
    }

    @Test
    void toKeepLessComesFirst() {
        RunShape all = SHAPE.keeping(ActivationMemory.FULL);

        assertThat(on(all, peak(SHAPE) + 1).changes()).first().isEqualTo("activation_memory: attention");
    }

    @Test
    void aLargerGroupHasToDivideTheRows() {
        RunShape odd = SHAPE.withRowTokens(4095); // 3 divides it, 2 and 4 don't

        assertThat(on(odd, peak(odd.withGroup(2))).changes())
                .contains("sequence_parallel_size: 3 (num_ranks: 3)")
                .doesNotContain("sequence_parallel_size: 2 (num_ranks: 2)");
    }

    @Test
    void saysWhenParametersAloneAreTooMuch() {
        RunPlan plan = on(SHAPE, 16 * SmallRun.PARAMETERS - 1);

        assertThat(plan.longestRow()).isEmpty();
        assertThat(plan.changes()).isEmpty();
        assertThat(plan.verdict()).contains("no length fits: weights, gradients and optimizer states take");
    }

    @Test
    void float32RunsOnCudaAndIsSlower() {
        RunPlan float32 = RunPlan.of(SHAPE.on(Device.CUDA), SmallRun.device("gpu", 1e9));
        RunPlan bfloat16 = RunPlan.of(SHAPE.on(Device.CUDA).inBfloat16(), SmallRun.device("gpu", 1e9));

        assertThat(float32.refusal()).isEmpty();
        assertThat(bfloat16.refusal()).isEmpty();
        assertThat(float32.time().matmul() / bfloat16.time().matmul()).isEqualTo(15);
    }

    private static long peak(RunShape shape) {
        return MemoryEstimate.of(shape, SmallRun.device("cpu", 1e9)).peak();
    }

    /** On a device where {@code usable} bytes are counted on. */
    private static RunPlan on(RunShape shape, long usable) {
        return RunPlan.of(shape, SmallRun.device("cpu", (usable + 1) / 0.95));
    }

    @Test
    void aPairHoldsTwoAnswersOfCutoffLen() {
        RunShape pairs = new RunShape(
                SHAPE.tuned(),
                SHAPE.compute(),
                SHAPE.activations(),
                SHAPE.device(),
                2048,
                SHAPE.batch(),
                SHAPE.mesh(),
                new RunShape.Comparison(2, 0));

        assertThat(peak(pairs)).isEqualTo(peak(SHAPE.withRowTokens(4096)));
        assertThat(on(pairs, peak(pairs) * 7 / 10).longestRow().orElseThrow())
                .isCloseTo(on(SHAPE, peak(pairs) * 7 / 10).longestRow().orElseThrow() / 2, within(64));
    }
}
