package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import org.junit.jupiter.api.Test;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.Collectives.Operation;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.memory.DeviceMemory;
import ulysses.runtime.model.CausalLm;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.objective.NextToken;
import ulysses.runtime.weights.ModelSpec;

/** What {@code activation_memory: auto} finds: memory enough here to keep all, so nothing travels a second time. */
final class ActivationRoomTest {

    private static final MicroBatch BATCH = MicroBatch.of(SmallModels.rows(3, 4, 20), 12);

    @Test
    void theSecondStepKeepsWhatTheFirstLeft() {
        RankThreads.forEachRank(2, groups -> {
            ModelSpec spec = SmallModels.llama();
            Collectives group = groups.sequenceParallel();
            try (Parameters parameters = SmallModels.parameters(spec, ComputeType.FLOAT32)) {
                CausalLm model = model(spec, parameters, group, ActivationMemory.AUTO);
                Agreement agreement = new Agreement(groups.world(), parameters.device());
                ActivationRoom room =
                        new ActivationRoom(model, DeviceMemory.host(), agreement, new ActivationRoom.Place("here", 0));

                long first = exchanged(model, group);
                long kept = room.open(new StepBatches(List.of(BATCH), 40, 50, 4, 3, false));
                long second = exchanged(model, group);

                assertThat(kept).isPositive();
                assertThat(first)
                        .isEqualTo(exchanged(model(spec, parameters, group, ActivationMemory.ATTENTION), group));
                assertThat(second)
                        .isEqualTo(exchanged(model(spec, parameters, group, ActivationMemory.FULL), group))
                        .isEqualTo(first / 3 * 2);
            }
        });
    }

    /** 64 GB for 8 ranks whose next step takes 6 GB of each again: 2 GB of each are left, of which 80 % are used. */
    @Test
    void everyRankOfAHostNeedsItsOwnRoomForAStep() {
        assertThat(ActivationRoom.left(64_000, 8, 6_000, 0)).isEqualTo(1_600);
        assertThat(ActivationRoom.left(64_000, 1, 6_000, 400)).isEqualTo(46_000);
    }

    private static CausalLm model(ModelSpec spec, Parameters parameters, Collectives group, ActivationMemory memory) {
        return new CausalLm(spec, parameters, new CausalLm.Layers(ParallelConfig.Device.CPU, memory), group);
    }

    /** Bytes of the all-to-alls of one forward and backward. */
    private static long exchanged(CausalLm model, Collectives group) {
        long before = group.traffic().total(Operation.ALL_TO_ALL);
        new SequenceStep(model, new NextToken(model.head()), group).forwardBackward(BATCH, BATCH.trainedTokens());
        return group.traffic().total(Operation.ALL_TO_ALL) - before;
    }
}
