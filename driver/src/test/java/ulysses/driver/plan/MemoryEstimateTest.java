package ulysses.driver.plan;

import static java.util.Map.entry;
import static org.assertj.core.api.Assertions.assertThat;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import ulysses.driver.plan.MemoryEstimate.Moment;
import ulysses.driver.plan.RunShape.Batch;
import ulysses.driver.plan.RunShape.Mesh;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.weights.LoraSpec;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterPlan;
import ulysses.runtime.weights.TunedModel;

/** Every line against numbers counted by hand; S = 64, D = 8, F = 16, N = 4, K = 2, H = 2, V = 32, two layers. */
class MemoryEstimateTest {

    @Test
    void oneRankInFloat32() {
        // given s = S = 64, n = 4, k = 2; [s,D], [S,n,H] and [s,N,H] are 2048 bytes, [s,F], q with k and v 4096
        MemoryEstimate estimate = MemoryEstimate.of(SmallRun.shape(1), SmallRun.device("cpu", 1e9));

        assertThat(byName(estimate))
                .containsExactly(
                        entry("process", 0L),
                        entry("weights", 4 * SmallRun.PARAMETERS),
                        entry("gradients", 4 * SmallRun.PARAMETERS),
                        entry("AdamW's moments", 8 * SmallRun.PARAMETERS),
                        entry("layer inputs", 3 * 2048L),
                        entry("attention outputs", 2 * (2048 + 64 * 4 * 4L)),
                        entry("rotation", 2 * 64 * 2 * 4L),
                        entry("loss: hidden states", 4 * 2048L),
                        entry("loss: one tile", 64 * 32 * 4L),
                        // two gradients [s,D], that of [s,N,H], and one tile of all 64 tokens
                        entry("MLP backward", 2 * 2048 + 2048 + 64 * (6 * 16 + 12 * 8) * 4L),
                        // two gradients [s,D], that of [s,N,H]; q k v and their gradients, from the kernel and summed
                        entry("attention backward", 2 * 2048 + 2048 + 4096 + 4096 + 4096L));
        assertThat(estimate.dearest()).isEqualTo(Moment.MLP_BACKWARD);
        assertThat(estimate.permanent()).isEqualTo(16 * SmallRun.PARAMETERS);
        assertThat(estimate.peak()).isEqualTo(16 * SmallRun.PARAMETERS + (6144 + 4096 + 2048 + 1024) + 55_296);
    }

    @Test
    void twoRanksInBfloat16OnCuda() {
        // given s = 32, n = 2, k = 1; [s,D], [S,n,H] and [s,N,H] are 512 bytes, [s,F] and q with k and v 1024
        RunShape shape = SmallRun.shape(2).inBfloat16().on(Device.CUDA);

        assertThat(byName(MemoryEstimate.of(shape, SmallRun.device("gpu", 1e9))))
                .containsExactly(
                        entry("CUDA context", 0L),
                        entry("weights", 2 * SmallRun.PARAMETERS),
                        entry("master weights", 4 * SmallRun.PARAMETERS),
                        entry("gradients", 4 * SmallRun.PARAMETERS),
                        entry("AdamW's moments", 8 * SmallRun.PARAMETERS),
                        entry("layer inputs", 3 * 512L),
                        entry("attention outputs", 2 * (512 + 64 * 2 * 4L)),
                        entry("rotation", 2 * 32 * 2 * 2L),
                        entry("loss: hidden states", 4 * 512L),
                        entry("loss: one tile", 32 * 32 * 8L),
                        entry("MLP backward", 2 * 512 + 512 + 512 + 32 * (6 * 16 + 12 * 8) * 2L),
                        // held: 2 [s,D], [s,N,H], dO, q k v and gradients; float32 dq, dk, dv
                        entry("attention backward", 4096 + 64 * 2 * 2 * 4 + 2 * 512L),
                        entry("exchange buffers", 4096 + 2 * 1024 + 1024L));
    }

    @Test
    void anAdapterHoldsGradientsAndStatesOfItselfAlone() {
        RunShape plain = SmallRun.shape(1);
        LoraSpec lora = new LoraSpec(2, 4, 0, false, LoraSpec.allLinear(plain.model()), List.of());
        long adapter = ParameterPlan.adapter(plain.model(), lora).trainedElements();
        TunedModel tuned = new TunedModel(
                plain.model(),
                ParameterPlan.adapter(plain.model(), lora),
                Optional.of(lora),
                Optional.empty(),
                List.of());
        RunShape shape = new RunShape(
                tuned,
                ComputeType.BFLOAT16,
                ActivationMemory.ATTENTION,
                Device.CPU,
                64,
                plain.batch(),
                plain.mesh(),
                RunShape.Comparison.NONE);

        MemoryEstimate estimate = MemoryEstimate.of(shape, SmallRun.device("d", 1e9));

        assertThat(estimate.bytes(Moment.RUN))
                .isEqualTo(2 * plain.model().parameterCount() + (2 + 4 + 4 + 8) * adapter);
    }

    @Test
    void whatLayersKeepIsAddedAndNotMadeAgain() {
        HardwareProfile device = SmallRun.device("cpu", 1e9);
        RunShape plain = SmallRun.shape(1);

        Map<String, Long> all = byName(MemoryEstimate.of(plain.keeping(ActivationMemory.FULL), device));
        Map<String, Long> none = byName(MemoryEstimate.of(plain.keeping(ActivationMemory.NONE), device));
        Map<String, Long> some = byName(MemoryEstimate.of(plain.keeping(ActivationMemory.ofBytes(11_000)), device));

        assertThat(all).containsEntry("q, k, v", 2 * 4096L);
        assertThat(all).containsEntry("inside of layers", 2 * 64 * (8 + 2 * 16) * 4L);
        assertThat(all).containsEntry("attention backward", 18_432 - 4096L);
        assertThat(none).doesNotContainKeys("attention outputs", "q, k, v", "inside of layers");
        assertThat(none).containsEntry("MLP backward", 55_296 + 4096 + 2048 + 1024L);
        assertThat(some).containsEntry("attention outputs", 2 * 3072L).containsEntry("q, k, v", 4096L);
    }

    @Test
    void offloadedActivationsDoNotGrowWithTheNumberOfLayers() {
        RunShape two = SmallRun.shape(1, 2).withOffloadedActivations();
        RunShape eight = SmallRun.shape(1, 8).withOffloadedActivations();

        assertThat(ofMicroBatch(eight)).isEqualTo(ofMicroBatch(two));
        assertThat(ofMicroBatch(two)).isEqualTo(ofMicroBatch(SmallRun.shape(1, 2)));
        assertThat(ofMicroBatch(SmallRun.shape(1, 8))).isGreaterThan(2 * ofMicroBatch(two));
    }

    private static long ofMicroBatch(RunShape shape) {
        return MemoryEstimate.of(shape, SmallRun.device("cpu", 1e9)).lines().stream()
                .filter(line -> line.moment() == MemoryEstimate.Moment.MICRO_BATCH)
                .mapToLong(MemoryEstimate.Line::bytes)
                .sum();
    }

    @Test
    void unevenHeadsCountForTheBusiestRankAndRowsArePadded() {
        RunShape shape = SmallRun.shape(3);

        Map<String, Long> lines = byName(MemoryEstimate.of(shape, SmallRun.device("cpu", 1e9)));

        assertThat(shape.sequence()).isEqualTo(66);
        assertThat(shape.part()).isEqualTo(22);
        assertThat(lines).containsEntry("attention outputs", 2 * 66 * 2 * (2 * 4 + 4L)); // n = 2 of 4 heads
        assertThat(lines).containsEntry("layer inputs", 3 * 22 * 8 * 4L);
    }

    @Test
    void activationsOfARankStayWhenLengthAndGroupGrowTogether() {
        RunShape one = SmallRun.shape(1).withRowTokens(1 << 16);
        RunShape four = SmallRun.shape(4).withRowTokens(1 << 18);

        MemoryEstimate small = MemoryEstimate.of(one, SmallRun.device("cpu", 1e9));
        MemoryEstimate large = MemoryEstimate.of(four, SmallRun.device("cpu", 1e9));

        assertThat(large.bytes(Moment.MICRO_BATCH)).isEqualTo(small.bytes(Moment.MICRO_BATCH));
    }

    private static Map<String, Long> byName(MemoryEstimate estimate) {
        Map<String, Long> lines = new LinkedHashMap<>();
        estimate.lines().forEach(line -> lines.put(line.name(), line.bytes()));
        return lines;
    }

    /** Blocks of 256, 592, 592 and 8 numbers, filled up to multiples of 8 a rank. */
    @Test
    void statesAreCutOverAllRanks() {
        long all = 256 + 2 * 592 + 16;

        assertThat(byName(states(1)))
                .contains(
                        entry("weights", 4 * SmallRun.PARAMETERS + 4 * 8),
                        entry("gradients", 4 * all),
                        entry("AdamW's moments", 8 * all / 2));
        assertThat(byName(states(2)))
                .contains(
                        entry("weights", 4 * all),
                        entry("gradients", 4 * all / 2),
                        entry("AdamW's moments", 8 * all / 2),
                        entry("layer gradients", 3 * 4 * 592L),
                        entry("head's gradient", 4 * 256L));
        assertThat(byName(states(3)))
                .contains(
                        entry("weights", 4 * all / 2),
                        entry("gradients", 4 * all / 2),
                        entry("AdamW's moments", 8 * all / 2),
                        entry("gathered layers", 2 * 2 * 4 * 592L),
                        entry("gathered head", 4 * 256L));
        assertThat(states(3).bytes(Moment.RUN)).isEqualTo(16 * all / 2);
    }

    @Test
    void offloadedStatesAreNotOnTheDevice() {
        RunShape shape = SmallRun.shape(1).inBfloat16();

        long held = MemoryEstimate.of(shape, SmallRun.device("gpu", 1e9)).bytes(Moment.RUN);
        long offloaded = MemoryEstimate.of(shape.withOffloadedOptimizer(), SmallRun.device("gpu", 1e9))
                .bytes(Moment.RUN);

        assertThat(held - offloaded).isEqualTo((4 + 8) * SmallRun.PARAMETERS);
    }

    @Test
    void oneRankHasNobodyToShareWith() {
        assertThat(MemoryEstimate.of(SmallRun.shape(1).withStage(3), SmallRun.device("cpu", 1e9)))
                .isEqualTo(MemoryEstimate.of(SmallRun.shape(1), SmallRun.device("cpu", 1e9)));
    }

    @Test
    void aFrozenModelIsCutBelowItsAdapter() {
        RunShape plain = SmallRun.shape(2).withStage(3);
        LoraSpec lora = new LoraSpec(2, 4, 0, false, LoraSpec.allLinear(plain.model()), List.of());
        ParameterPlan plan = ParameterPlan.adapter(plain.model(), lora);
        RunShape shape = new RunShape(
                new TunedModel(plain.model(), plan, Optional.of(lora), Optional.empty(), List.of()),
                ComputeType.BFLOAT16,
                ActivationMemory.ATTENTION,
                Device.CPU,
                64,
                plain.batch(),
                plain.mesh(),
                RunShape.Comparison.NONE);

        assertThat(byName(MemoryEstimate.of(shape, SmallRun.device("cpu", 1e9))))
                .containsEntry("frozen weights", 2L * (256 + 2 * 592 + 16) / 2);
    }

    /** A tile of 131072 logits a token is longer than 32 MiB, those of an MLP are not. */
    @Test
    void onTheCpuShortBuffersAreNotGivenBackBeforeALongOneComes() {
        ModelSpec wide = SmallRun.model("\"sliding_window\": null, \"vocab_size\": 131072");
        RunShape shape = new RunShape(
                wide, ComputeType.FLOAT32, ActivationMemory.ATTENTION, Device.CPU, 64, new Batch(1, 1), new Mesh(1, 1));
        long held = 55_296 - 4 * 2048; // the MLP's backward, of which the loss's hidden states take a part

        List<MemoryEstimate.Line> lines =
                MemoryEstimate.of(shape, SmallRun.device("cpu", 1e9)).lines();

        assertThat(lines)
                .filteredOn(line -> line.name().equals("freed, not given back"))
                .singleElement()
                .isEqualTo(new MemoryEstimate.Line(
                        Moment.LOSS, "freed, not given back", held, "by the C library, of buffers below 32 MiB"));
        assertThat(byName(MemoryEstimate.of(shape.on(Device.CUDA), SmallRun.device("gpu", 1e9))))
                .doesNotContainKey("freed, not given back");
    }

    /** Weights in bfloat16, master weights and moments in float32; each of two ranks copies half. */
    @Test
    void aCheckpointIsCopiedInHostMemoryWhileItIsWritten() {
        RunShape plain = SmallRun.shape(2).inBfloat16();
        RunShape.Mesh mesh = new RunShape.Mesh(1, 2, new RunShape.States(0, false, false, true));
        RunShape saving = new RunShape(
                plain.tuned(),
                plain.compute(),
                ActivationMemory.ATTENTION,
                Device.CPU,
                64,
                plain.batch(),
                mesh,
                RunShape.Comparison.NONE);

        assertThat(byName(MemoryEstimate.of(saving, SmallRun.device("cpu", 1e9))))
                .containsEntry("checkpoint's copy", 14 * SmallRun.PARAMETERS / 2);
        assertThat(byName(MemoryEstimate.of(saving.on(Device.CUDA), SmallRun.device("gpu", 1e9))))
                .doesNotContainKey("checkpoint's copy");
        assertThat(byName(MemoryEstimate.of(plain, SmallRun.device("cpu", 1e9))))
                .doesNotContainKey("checkpoint's copy");
    }

    private static MemoryEstimate states(int stage) {
        return MemoryEstimate.of(SmallRun.shape(2).withStage(stage), SmallRun.device("cpu", 1e9));
    }

    @Test
    void aReferenceModelIsHeldBesideInTheComputeType() {
        RunShape plain = SmallRun.shape(1);
        RunShape compared = new RunShape(
                plain.tuned(),
                plain.compute(),
                ActivationMemory.ATTENTION,
                Device.CPU,
                64,
                plain.batch(),
                plain.mesh(),
                new RunShape.Comparison(1, SmallRun.PARAMETERS));
        HardwareProfile device = SmallRun.device("cpu", 1e9);

        assertThat(MemoryEstimate.of(compared, device).peak()
                        - MemoryEstimate.of(plain, device).peak())
                .isEqualTo(4 * SmallRun.PARAMETERS);
    }
}
