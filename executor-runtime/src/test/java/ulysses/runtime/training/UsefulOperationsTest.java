package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import ulysses.runtime.config.TuningConfig;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.TunedModel;

/** What training needs, counted by hand from the shapes of a model with a head of its own. */
class UsefulOperationsTest {
    private static final ModelSpec SPEC = SmallModels.llama();
    /** 5 and 7 tokens, and 4 of padding that are not needed. */
    private static final MicroBatch BATCH =
            MicroBatch.of(List.of(new PackedRow(new int[12], new int[12], new int[] {5, 7})), 16);

    private static final int PAIRS = 15 + 28;

    @Test
    void allWeightsTakeSixATokenAndAttentionTwelveAPairAndHead() {
        double attention = 12.0 * SPEC.layers() * SPEC.heads() * SPEC.headSize() * PAIRS;

        assertThat(UsefulOperations.of(TunedModel.full(SPEC)).of(BATCH))
                .isCloseTo(6.0 * 12 * products() + attention, within(0.5));
    }

    @Test
    void frozenWeightsHaveNoGradientAndAdaptersAreWeightsToo() {
        TuningConfig lora = new TuningConfig.Lora(
                TuningConfig.Stage.SFT, 4, 8, 0, List.of("all"), List.of(), false, 1, List.of(), false);
        TunedModel tuned = TunedModel.of(lora, SPEC, new Configuration(false));
        double attention = 12.0 * SPEC.layers() * SPEC.heads() * SPEC.headSize() * PAIRS;

        assertThat(UsefulOperations.of(tuned).of(BATCH))
                .isCloseTo(12 * (4.0 * products() + 6.0 * tuned.plan().trainedElements()) + attention, within(0.5));
    }

    private static long products() {
        return SPEC.parameters().stream()
                .filter(parameter -> !parameter.name().endsWith(ModelSpec.EMBEDDING))
                .mapToLong(ParameterSpec::elements)
                .sum();
    }
}
