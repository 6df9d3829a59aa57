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
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.weights.LoraSpec;
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
                        entry("attention outputs", 2 * 2048L),
                        entry("logsumexp", 2 * 64 * 4 * 4L),
                        entry("rotation", 2 * 64 * 2 * 4L),
                        entry("loss: hidden states", 4 * 2048L),
                        entry("loss: one tile", 64 * 32 * 8L),
                        // two gradients [s,D]; recorded: 3 [s,D], the norm's 2048, 4 [s,F]; 2 [s,F] more; one weight
                        entry("MLP backward", 2 * 2048 + (3 * 2048 + 2048 + 4 * 4096) + 2 * 4096 + 16 * 8 * 4L),
                        // 3 [s,D], [s,N,H]; recorded: [s,D], the norm's, q k v; their gradients, from the kernel and
                        // summed
                        entry("attention backward", 3 * 2048 + 2048 + (2048 + 2048 + 4096) + 4096 + 4096L),
                        entry("gradient norm", 8 * 256L));
        assertThat(estimate.dearest()).isEqualTo(Moment.MLP_BACKWARD);
        assertThat(estimate.permanent()).isEqualTo(16 * SmallRun.PARAMETERS);
        assertThat(estimate.peak()).isEqualTo(16 * SmallRun.PARAMETERS + (6144 + 4096 + 2048 + 1024) + 37_376);
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
                        entry("attention outputs", 2 * 512L),
                        entry("logsumexp", 2 * 64 * 2 * 4L),
                        entry("rotation", 2 * 32 * 2 * 2L),
                        entry("loss: hidden states", 4 * 512L),
                        entry("loss: one tile", 32 * 32 * 10L),
                        entry("MLP backward", 2 * 512 + (512 + 3 * 512 + 4 * 1024) + 2 * 1024 + 16 * 8 * 2L),
                        // held: 3 [s,D], [s,N,H], recorded [s,D] and q k v, received q k v and dO, gradients; float32
                        // dq, dk, dv
                        entry("attention backward", 6144 + 64 * 2 * 2 * 4 + 2 * 512L),
                        entry("exchange buffers", 6144 + 2 * 1024 + 1024L),
                        entry("gradient norm", 8 * 256L));
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
                true,
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
    void withoutCheckpointingTheGraphsOfAllLayersAreKept() {
        RunShape plain = SmallRun.shape(1);
        RunShape keeping =
                new RunShape(plain.model(), ComputeType.FLOAT32, false, Device.CPU, 64, plain.batch(), plain.mesh());

        Map<String, Long> lines = byName(MemoryEstimate.of(keeping, SmallRun.device("cpu", 1e9)));

        assertThat(lines).containsEntry("graphs", 2 * (24_576 + 8_192L));
        assertThat(lines).containsEntry("MLP backward", 37_376 - 24_576L);
        assertThat(lines).containsEntry("attention backward", 24_576 - 8_192L);
    }

    @Test
    void unevenHeadsCountForTheBusiestRankAndRowsArePadded() {
        RunShape shape = SmallRun.shape(3);

        Map<String, Long> lines = byName(MemoryEstimate.of(shape, SmallRun.device("cpu", 1e9)));

        assertThat(shape.sequence()).isEqualTo(66);
        assertThat(shape.part()).isEqualTo(22);
        assertThat(lines).containsEntry("attention outputs", 2 * 66 * 2 * 2 * 4L); // n = 2 of 4 heads
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

    @Test
    void aShortRowsPeakIsTheGradientNorm() {
        RunShape shape = new RunShape(
                SmallRun.model("\"sliding_window\": null"),
                ComputeType.FLOAT32,
                true,
                Device.CPU,
                1,
                new Batch(1, 1),
                new Mesh(1, 1));

        MemoryEstimate estimate = MemoryEstimate.of(shape, SmallRun.device("cpu", 1e9));

        assertThat(estimate.bytes(Moment.GRADIENT_NORM)).isEqualTo(2048);
        assertThat(estimate.dearest()).isEqualTo(Moment.MLP_BACKWARD); // all weights' gradients come back together
        assertThat(estimate.bytes(Moment.MLP_BACKWARD))
                .isEqualTo(2 * 32 + (3 * 32 + 32 + 4 * 64) - 2 * 64 + (3 * 128 + 64) * 4);
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
                        entry("AdamW's moments", 8 * all / 2),
                        entry("gradient norm", 8L * 592 / 2));
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
                        entry("gathered layers", 2 * 4 * 592L),
                        entry("gathered head", 4 * 256L));
        assertThat(states(3).bytes(Moment.RUN)).isEqualTo(16 * all / 2);
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
                true,
                Device.CPU,
                64,
                plain.batch(),
                plain.mesh(),
                RunShape.Comparison.NONE);

        assertThat(byName(MemoryEstimate.of(shape, SmallRun.device("cpu", 1e9))))
                .containsEntry("frozen weights", 2L * (256 + 2 * 592 + 16) / 2);
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
                true,
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
