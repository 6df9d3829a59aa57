package ulysses.runtime.gradient;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.collective.Collectives.Operation;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.weights.ModelSpec;

final class GradientBucketsTest {

    @Test
    void sumsOverAllRanksBeyondOneBucket() {
        ModelSpec large = ModelSpec.parse("""
                {"model_type": "llama", "hidden_size": 32, "intermediate_size": 8, "num_hidden_layers": 1,
                 "num_attention_heads": 4, "num_key_value_heads": 4, "vocab_size": 530000, "hidden_act": "silu",
                 "rms_norm_eps": 1e-6, "max_position_embeddings": 128, "rope_theta": 10000.0,
                 "tie_word_embeddings": true}
                """, "test"); // 17 million elements, more than the 16 Mi of a bucket
        RankThreads.forEachRank(2, groups -> {
            try (Parameters parameters = new Parameters(large, ComputeType.FLOAT32, new Device("cpu"));
                    TensorScope scope = TensorScope.open()) {
                parameters.gradients().fill_(new Scalar((double) (groups.world().rank() + 1)));

                new GradientBuckets(parameters, groups.world()).reduce();

                assertThat(parameters.gradients().min().item_double()).isEqualTo(3);
                assertThat(parameters.gradients().max().item_double()).isEqualTo(3);
                assertThat(groups.world().traffic().calls(Operation.ALL_REDUCE)).isEqualTo(2);
            }
        });
    }

    @Test
    void theNormIsThatOfAllGradientsTogether() {
        try (Parameters parameters = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32)) {
            long elements = parameters.elements();
            parameters.gradients().fill_(new Scalar(0.5));

            double norm = new GradientBuckets(parameters, new SingleRank("one")).norm();

            assertThat(norm).isCloseTo(0.5 * Math.sqrt((double) elements), within(1e-9));
        }
    }

    /** torch divides by the norm plus 1e-6: near that size it shows. */
    @ParameterizedTest(name = "norm {0}, limit {1}")
    @CsvSource({"10, 1", "1, 0.5", "1e-5, 1e-6", "2e-6, 1e-6", "1e-6, 1.5e-6"})
    void clipsAsTorchDoes(double norm, double limit) {
        try (Parameters parameters = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32)) {
            parameters.zeroGradients();
            parameters.gradients().narrow(0, 5, 1).fill_(new Scalar(norm));
            GradientBuckets buckets = new GradientBuckets(parameters, new SingleRank("one"));

            buckets.clip(buckets.norm(), limit);

            assertThat(buckets.norm() / (norm * limit / (norm + 1e-6))).isCloseTo(1, within(1e-6));
        }
    }

    @ParameterizedTest(name = "norm 1, limit {0}")
    @CsvSource({"0", "1.1", "100"})
    void leavesSmallGradientsAndThoseWithoutLimitAlone(double limit) {
        try (Parameters parameters = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32);
                TensorScope scope = TensorScope.open()) {
            parameters.zeroGradients();
            parameters.gradients().narrow(0, 5, 1).fill_(new Scalar(1.0));
            Tensor before = parameters.gradients().clone();

            new GradientBuckets(parameters, new SingleRank("one")).clip(1, limit);

            assertThat(torch.equal(parameters.gradients(), before)).isTrue();
            assertThat(TensorArrays.values(before)[5]).isEqualTo(1);
        }
    }
}
