package ulysses.runtime.model;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Arrays;
import java.util.List;
import org.bytedeco.pytorch.Device;
import org.junit.jupiter.api.Test;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.objective.NextToken;
import ulysses.runtime.training.SequenceStep;
import ulysses.runtime.weights.ModelSpec;

/** A model that declares a padding token, as torch's Embedding with a padding index treats it. */
final class PaddingTokenTest {

    private static final int PAD = 5;

    @Test
    void paddingTokenStartsAtZeroAndGetsNoGradientOfTheEmbedding() {
        ModelSpec spec = ModelSpec.parse("""
                {"model_type": "llama", "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1,
                 "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 32, "hidden_act": "silu", "pad_token_id": 5,
                 "rms_norm_eps": 1e-5, "max_position_embeddings": 64, "rope_theta": 10000.0, "initializer_range": 0.2,
                 "tie_word_embeddings": false, "architectures": ["LlamaForCausalLM"]}
                """, "test");
        int[] ids = {3, PAD, 7, PAD, 9, 11};

        try (Parameters parameters = new Parameters(spec, ComputeType.FLOAT32, new Device("cpu"))) {
            new InitialWeights(spec, parameters).draw(1);
            SingleRank alone = new SingleRank("test");
            CausalLm model = new CausalLm(
                    spec,
                    parameters,
                    new CausalLm.Layers(ParallelConfig.Device.CPU, ActivationMemory.ATTENTION),
                    alone);
            new SequenceStep(model, new NextToken(model.head()), alone)
                    .forwardBackward(MicroBatch.of(List.of(new PackedRow(ids, ids, new int[] {6})), 1), 5);

            float[] weight =
                    TinyModel.floats(parameters.get(ModelSpec.EMBEDDING).value());
            float[] gradient =
                    TinyModel.floats(parameters.get(ModelSpec.EMBEDDING).gradient());
            assertThat(row(weight, PAD)).containsOnly(0f);
            assertThat(row(gradient, PAD)).containsOnly(0f);
            assertThat(row(gradient, 7)).doesNotContain(0f);
        }
    }

    private static float[] row(float[] matrix, int row) {
        return Arrays.copyOfRange(matrix, row * 16, row * 16 + 16);
    }
}
