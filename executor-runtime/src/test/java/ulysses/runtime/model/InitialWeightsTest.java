package ulysses.runtime.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.concurrent.atomic.AtomicInteger;
import org.bytedeco.pytorch.Device;
import org.junit.jupiter.api.Test;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.weights.ModelSpec;

final class InitialWeightsTest {

    private static final double RANGE = 0.02;

    private static final ModelSpec SPEC = ModelSpec.parse("""
            {"model_type": "qwen2", "hidden_size": 128, "intermediate_size": 256, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 500, "hidden_act": "silu",
             "rms_norm_eps": 1e-6, "max_position_embeddings": 128, "rope_theta": 10000.0, "initializer_range": %s,
             "tie_word_embeddings": false}
            """.formatted(RANGE), "test");

    @Test
    void drawsFromTheRangeOfTheConfig() {
        try (Parameters parameters = drawn(42)) {
            for (Parameter parameter : parameters.all()) {
                double[] values = TensorArrays.values(parameter.value());
                double mean = Arrays.stream(values).average().orElseThrow();
                double deviation = Math.sqrt(Arrays.stream(values)
                        .map(v -> (v - mean) * (v - mean))
                        .average()
                        .orElseThrow());
                if (parameter.name().contains("norm")) {
                    assertThat(values).as(parameter.name()).containsOnly(1);
                } else if (parameter.name().endsWith(".bias")) {
                    assertThat(values).as(parameter.name()).containsOnly(0);
                } else {
                    // Four standard errors of mean and deviation.
                    double error = 4 * RANGE / Math.sqrt(values.length);
                    assertThat(mean).as(parameter.name()).isCloseTo(0, within(error));
                    assertThat(deviation).as(parameter.name()).isCloseTo(RANGE, within(error));
                }
            }
        }
    }

    @Test
    void everyRankDrawsTheSameAtTheSameTime() {
        List<double[]> weights = RankThreads.run(4, groups -> {
            try (Parameters parameters = drawn(42)) {
                return TensorArrays.values(parameters.master());
            }
        });

        weights.forEach(of -> assertThat(of).isEqualTo(weights.get(0)));
    }

    @Test
    void anotherSeedOrNameDrawsOthers() {
        try (Parameters one = drawn(42);
                Parameters two = drawn(43)) {
            Set<Double> firsts = new HashSet<>();
            for (Parameters parameters : List.of(one, two)) {
                parameters.all().stream()
                        .filter(p -> p.name().endsWith("proj.weight"))
                        .forEach(p -> firsts.add(TensorArrays.values(p.value())[0]));
            }

            assertThat(firsts).hasSize(2 * 2 * 7); // seeds, layers, projections
        }
    }

    @Test
    void tellsOfEachParameterThatIsFilled() {
        AtomicInteger filled = new AtomicInteger();
        try (Parameters parameters = new Parameters(SPEC, ComputeType.FLOAT32, new Device("cpu"))) {
            InitialWeights weights = new InitialWeights(SPEC, parameters, filled::incrementAndGet);

            weights.load((name, first, target) -> target.position(target.limit()));
        }

        assertThat(filled).hasValue(SPEC.parameters().size());
    }

    @Test
    void bfloat16WeightsAreTheRoundedMasters() {
        try (Parameters whole = drawn(42);
                Parameters rounded = new Parameters(SPEC, ComputeType.BFLOAT16, new Device("cpu"))) {
            new InitialWeights(SPEC, rounded).draw(42);

            assertThat(TensorArrays.values(rounded.master())).isEqualTo(TensorArrays.values(whole.master()));
            assertThat(TensorArrays.relative(rounded.weights(), whole.master())).isBetween(1e-4, 4e-3);
        }
    }

    private static Parameters drawn(long seed) {
        Parameters parameters = new Parameters(SPEC, ComputeType.FLOAT32, new Device("cpu"));
        new InitialWeights(SPEC, parameters).draw(seed);
        return parameters;
    }
}
