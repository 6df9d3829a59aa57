package ulysses.driver.plan;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.data.Percentage.withPercentage;

import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.driver.plan.RunShape.Batch;
import ulysses.driver.plan.RunShape.Mesh;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TrainingConfig.ComputeType;

class StepTimeEstimateTest {

    /** numerics.md, section 2: q + k + v + o forward, the same backward, once more recomputed, s·H elements a head. */
    @ParameterizedTest(name = "sequence_parallel_size {0}")
    @CsvSource({"2, 9216", "4, 4608"})
    void bytesOfTheAllToAllsAreThePapersFormula(int group, long perLayer) {
        RunShape shape = SmallRun.shape(group);
        long perHead = (64L / group) * 2 * 4;
        long formula = 3 * (2 * 4 + 2 * 2) * perHead;

        StepCommunication moved = StepCommunication.of(shape);

        long copies = group == 4 ? 3 * 2 * 2 * perHead : 0; // 4 ranks share 2 kv heads: each is sent twice
        assertThat(formula).isEqualTo(perLayer);
        assertThat(moved.allToAll()).isEqualTo(2 * (formula + copies));
        assertThat(moved.allToAllSent(group)).isEqualTo(2 * (formula + copies) / group * (group - 1));
    }

    @Test
    void whatIsKeptTravelsForwardOnce() {
        RunShape keeping = new RunShape(
                SmallRun.shape(2).model(),
                ComputeType.FLOAT32,
                ActivationMemory.FULL,
                Device.CPU,
                64,
                new Batch(1, 3),
                new Mesh(2, 2));

        StepCommunication moved = StepCommunication.of(keeping);

        assertThat(moved.allToAll()).isEqualTo(3 * 2 * (9216 / 3 * 2L)); // three micro-batches, two layers
        assertThat(moved.allReduce()).isEqualTo(4 * SmallRun.PARAMETERS);
        assertThat(moved.allReduceSent(4)).isEqualTo(2 * 3 * SmallRun.PARAMETERS);
    }

    /** Blocks of 256, 592, 592 and 8 numbers, filled up to multiples of 4 x 8; three micro-batches. */
    @Test
    void statesMoveAsTheStageSays() {
        long all = 256 + 2 * 608 + 32;
        RunShape shape = new RunShape(
                SmallRun.shape(2).model(),
                ComputeType.FLOAT32,
                ActivationMemory.ATTENTION,
                Device.CPU,
                64,
                new Batch(1, 3),
                new Mesh(2, 2));

        StepCommunication first = StepCommunication.of(shape.withStage(1));
        StepCommunication second = StepCommunication.of(shape.withStage(2));
        StepCommunication third = StepCommunication.of(shape.withStage(3).inBfloat16());

        assertThat(first.allReduce()).isZero();
        assertThat(first.reduceScatter()).isEqualTo(4 * all);
        assertThat(first.allGather()).isEqualTo(4 * all);
        assertThat(second.reduceScatter()).isEqualTo(3 * 4 * all);
        assertThat(second.allGatherSent(4)).isEqualTo(3 * all);
        assertThat(third.reduceScatter()).isEqualTo(3 * 4 * all);
        assertThat(third.allGather()).isEqualTo(3 * 2 * 2 * all); // the tied embedding is embedding and head
    }

    @Test
    void aSingleRankMovesNothing() {
        assertThat(StepCommunication.of(SmallRun.shape(1))).isEqualTo(new StepCommunication(0, 0, 0, 0));
    }

    @Test
    void operationsAreCountedByHand() {
        RunShape shape = SmallRun.shape(1);

        assertThat(StepTimeEstimate.matmulOperations(shape))
                .isEqualTo(2 * 64 * (1192 * 3 + 2 * (128 + 64 + 256) + 256 * 3.0));
        assertThat(StepTimeEstimate.attentionOperations(shape, layer -> 1)).isEqualTo(2 * 14 * 4 * 2 * (64 * 65 / 2.0));
    }

    @Test
    void aWindowBoundsAttention() {
        RunShape shape = new RunShape(
                SmallRun.model("\"sliding_window\": 16"),
                ComputeType.FLOAT32,
                ActivationMemory.ATTENTION,
                Device.CPU,
                64,
                new Batch(2, 1),
                new Mesh(1, 1));

        assertThat(StepTimeEstimate.attentionOperations(shape, layer -> 1))
                .isEqualTo(2 * 2 * 14 * 4 * 2 * (16 * 17 / 2 + 48 * 16.0)); // two rows, two layers
    }

    @Test
    void longDenseDocumentsInBfloat16HaveAShareOfTheirOwn() {
        HardwareProfile h100 = HardwareProfile.all().get(0);

        double ratio = h100.attentionShare() / h100.longAttentionShare();
        assertThat(ratio).isLessThan(0.9);
        assertThat(attentionOverOperations(8192, ComputeType.BFLOAT16, h100, "\"sliding_window\": null"))
                .isCloseTo(ratio / (h100.attentionShare() * h100.peakTflops() * 1e12), withPercentage(1e-6));
        for (double other : new double[] {
            attentionOverOperations(8191, ComputeType.BFLOAT16, h100, "\"sliding_window\": null"),
            attentionOverOperations(8192, ComputeType.FLOAT32, h100, "\"sliding_window\": null") / 15, // its peak
            attentionOverOperations(8192, ComputeType.BFLOAT16, h100, "\"sliding_window\": 512")
        }) {
            assertThat(other).isCloseTo(1 / (h100.attentionShare() * h100.peakTflops() * 1e12), withPercentage(1e-6));
        }
    }

    private static double attentionOverOperations(
            int tokens, ComputeType compute, HardwareProfile hardware, String window) {
        RunShape shape = new RunShape(
                SmallRun.model(window),
                compute,
                ActivationMemory.ATTENTION,
                Device.CUDA,
                tokens,
                new Batch(1, 1),
                new Mesh(1, 1));
        return StepTimeEstimate.of(shape, hardware).attention()
                / StepTimeEstimate.attentionOperations(shape, layer -> 1);
    }

    @Test
    void blocksBoundAttention() {
        AttentionPattern pattern = new AttentionPattern(16, 1, 16);
        RunShape shape = new RunShape(
                SmallRun.model().withAttention(new TrainingConfig.Attention(0, 0, List.of(pattern))),
                ComputeType.FLOAT32,
                ActivationMemory.ATTENTION,
                Device.CPU,
                64,
                new Batch(1, 1),
                new Mesh(1, 1));

        assertThat(StepTimeEstimate.attentionOperations(shape, layer -> 1))
                .isEqualTo(2
                        * 14
                        * 4
                        * 2
                        * (4 * 16 * 17 / 2 + 3 * 16 * 16.0)); // own blocks, and the first one from the others
        assertThat(RunPlan.of(shape, SmallRun.device("gpu", 1e9)).refusal()).contains(AttentionPattern.CPU_ONLY);
        assertThat(RunPlan.of(shape, SmallRun.device("cpu", 1e9)).refusal()).isEmpty();
    }

    @Test
    void secondsAreOperationsAndBytesOverTheDevicesFigures() {
        RunShape shape = SmallRun.shape(2);

        StepTimeEstimate time = StepTimeEstimate.of(shape, SmallRun.device("cpu", 1e9));

        assertThat(time.matmul()).isCloseTo(2 * 32 * (1192 * 3 + 2 * (128 + 64 + 256) + 256 * 3) / 1e12, within(1e-18));
        assertThat(time.attention()).isCloseTo(2 * 14 * 2 * 2 * (64 * 65 / 2) / 0.5e12, within(1e-18));
        assertThat(time.allToAll()).isCloseTo(9216 / 1e9, within(1e-15)); // half of two layers' stays
        assertThat(time.states()).isCloseTo(4 * SmallRun.PARAMETERS / 1e9, within(1e-15));
        assertThat(time.optimizer()).isCloseTo(60 * SmallRun.PARAMETERS / 1e9, within(1e-15));
        assertThat(time.tokens()).isEqualTo(64);
        assertThat(time.tokensPerSecond()).isCloseTo(64 / time.total(), within(1e-6));
    }

    @Test
    void ranksOfSeveralHostsUseTheNetwork() {
        HardwareProfile device = SmallRun.device("gpu", 1e9);

        assertThat(device.collectiveBytesPerSecond(4)).isEqualTo(1e9);
        assertThat(device.collectiveBytesPerSecond(5)).isEqualTo(1e8);
    }
}
