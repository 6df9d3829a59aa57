package ulysses.runtime.gradient;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.config.StrategyConfig;
import ulysses.runtime.config.StrategyConfig.Strategy;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.ParameterSharing;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.model.TinyModel;
import ulysses.runtime.segment.Parameter;

/** Against the recorded case of the strategies, and at their thresholds. */
final class GradientStrategiesTest {
    private static final Map<String, List<Strategy>> RECIPES = Map.of(
            "scale", List.of(Strategy.SCALE),
            "centralise", List.of(Strategy.CENTRALIZE),
            "clip", List.of(Strategy.CLIP),
            "all", List.of(Strategy.SCALE, Strategy.LR, Strategy.CENTRALIZE, Strategy.CLIP));

    @ParameterizedTest(name = "gradients times 2^{0}")
    @CsvSource({"0, 0", "1, -4", "2, -7", "3, 13"})
    void doesWhatIsRecorded(int index, int exponent) {
        try (TinyModel tiny = new TinyModel("tiny-llama", new SingleRank("one"), true)) {
            JsonNode recorded = tiny.json("strategies").path("cases").path(index);
            assertThat(recorded.path("factor_exponent").asInt()).isEqualTo(exponent);
            for (String recipe : RECIPES.keySet()) {
                fill(tiny, recorded.path("factor").asDouble());
                compare(tiny, recorded, recipe, apply(tiny.parameters(), RECIPES.getOrDefault(recipe, List.of()), 0));
            }
        }
    }

    private static void compare(TinyModel tiny, JsonNode recorded, String recipe, GradientStrategies.Outcome outcome) {
        assertThat(outcome.meanAbs() / recorded.path("m").asDouble()).isCloseTo(1, within(1e-9));
        for (Strategy strategy : RECIPES.getOrDefault(recipe, List.of())) {
            String name = strategy == Strategy.CENTRALIZE
                    ? "centralise"
                    : strategy.name().toLowerCase(Locale.ROOT);
            assertThat(outcome.fired().contains(strategy))
                    .as(recipe + " " + strategy)
                    .isEqualTo(recorded.path("fires").path(name).asBoolean());
        }
        if (recipe.equals("all")) {
            assertThat(outcome.rateFactor())
                    .isEqualTo(recorded.path("lr_factor").asDouble());
        }
        JsonNode result = recorded.path("results").path(recipe);
        double norm = new GradientBuckets(tiny.parameters(), new SingleRank("one")).norm();
        assertThat(norm / result.path("grad_norm").asDouble()).as(recipe).isCloseTo(1, within(1e-6));
        for (Parameter parameter : tiny.parameters().all()) {
            JsonNode sums = result.path("sums").path(parameter.name());
            double absolute = sums.path(1).asDouble();
            try (TensorScope scope = TensorScope.open()) {
                Tensor gradient = parameter.gradient().to(torch.ScalarType.Double);
                assertThat(gradient.sum().item_double())
                        .as(parameter.name())
                        .isCloseTo(sums.path(0).asDouble(), within(1e-6 * absolute));
                assertThat(gradient.abs().sum().item_double() / absolute).isCloseTo(1, within(1e-6));
                assertThat(gradient.square().sum().item_double() / sums.path(2).asDouble())
                        .isCloseTo(1, within(2e-6));
            }
        }
        compareStored(tiny, recorded, recipe);
    }

    private static void compareStored(TinyModel tiny, JsonNode recorded, String recipe) {
        List<String> changed =
                tiny.names("strategies", recorded.path("results_file").asText());
        for (Parameter parameter : tiny.parameters().all()) {
            String name = recipe + ".grad." + parameter.name();
            if (changed.contains(name)) {
                double[] expected = doubles(
                        tiny.floats("strategies", recorded.path("results_file").asText(), name));
                assertThat(TensorArrays.relative(doubles(TinyModel.floats(parameter.gradient())), expected))
                        .as(name)
                        .isLessThan(1e-6);
            }
        }
    }

    private static double[] doubles(float[] values) {
        double[] wide = new double[values.length];
        Arrays.setAll(wide, i -> values[i]);
        return wide;
    }

    private static void fill(TinyModel tiny, double factor) {
        for (Parameter parameter : tiny.parameters().all()) {
            float[] recorded = tiny.floats("packed", "gradients.safetensors", "grad." + parameter.name());
            try (TensorScope scope = TensorScope.open()) {
                parameter
                        .gradient()
                        .copy_(torch.tensor(recorded).view(parameter.gradient().sizes()))
                        .mul_(new Scalar(factor));
            }
        }
    }

    private static GradientSlices slices(Parameters parameters) {
        return new GradientSlices(new ParameterSharing(parameters, new SingleRank("one")));
    }

    /** Applies the strategies and clips, with no other limit. */
    private static GradientStrategies.Outcome apply(Parameters parameters, List<Strategy> on, long step) {
        GradientBuckets buckets = new GradientBuckets(parameters, new SingleRank("one"));
        GradientStrategies strategies = new GradientStrategies(StrategyConfig.NONE.with(on), 7);
        GradientStrategies.Outcome outcome = strategies.apply(slices(parameters), step, buckets.norm());
        buckets.clip(buckets.norm(), strategies.limit(outcome, 0));
        return outcome;
    }

    @ParameterizedTest(name = "every |g| is {0}")
    @CsvSource({"4.99, false", "5.0, false", "5.0001, true"})
    void clipsAboveTheThresholdOnly(double value, boolean clips) {
        try (Parameters parameters = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32)) {
            parameters.gradients().fill_(new Scalar(value));

            GradientStrategies.Outcome outcome = apply(parameters, List.of(Strategy.CLIP), 0);

            assertThat(outcome.fired().contains(Strategy.CLIP)).isEqualTo(clips);
            double norm = new GradientBuckets(parameters, new SingleRank("one")).norm();
            if (clips) {
                assertThat(norm).isCloseTo(1, within(1e-6));
            } else {
                assertThat(norm).isGreaterThan(100);
            }
        }
    }

    @ParameterizedTest(name = "every |g| is {0}")
    @CsvSource({"0x1p-11, true", "0x1p-10, false", "0x1p-9, false"})
    void actsBelowTheThresholdOnly(String value, boolean vanishing) {
        StrategyConfig config =
                new StrategyConfig(List.of(Strategy.NOISE, Strategy.LR), 0x1p-10, 5, 5e-3, 1e-4, 1.5, 1.2, 1, true);
        try (Parameters parameters = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32)) {
            parameters.gradients().fill_(new Scalar(Double.parseDouble(value)));

            GradientStrategies.Outcome outcome = new GradientStrategies(config, 7).apply(slices(parameters), 0, 1);

            assertThat(outcome.fired()).hasSize(vanishing ? 2 : 0);
            assertThat(outcome.rateFactor()).isEqualTo(vanishing ? 1.2 : 1);
        }
    }

    @Test
    void noiseIsAFunctionOfSeedStepAndPlace() {
        double[] first = noise(3);

        assertThat(noise(3)).isEqualTo(first);
        assertThat(noise(4)).isNotEqualTo(first);
        double square = Arrays.stream(first).map(x -> x * x).sum() / first.length;
        assertThat(Math.sqrt(square)).isCloseTo(5e-3, within(2e-4));
    }

    private static double[] noise(long step) {
        try (Parameters parameters = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32)) {
            parameters.zeroGradients();
            assertThat(apply(parameters, List.of(Strategy.NOISE), step).fired()).containsExactly(Strategy.NOISE);
            return TensorArrays.values(parameters.gradients());
        }
    }

    @Test
    void statisticsAreThoseBeforeTheNoise() {
        try (Parameters parameters = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32)) {
            parameters.gradients().fill_(new Scalar(1e-5));

            GradientStrategies.Outcome outcome = apply(parameters, List.of(Strategy.SCALE, Strategy.NOISE), 0);

            assertThat(outcome.fired()).containsExactly(Strategy.NOISE, Strategy.SCALE);
            assertThat(outcome.meanAbs()).isCloseTo(1e-5, within(1e-11));
            assertThat(outcome.noiseToSignal()).isCloseTo(500, within(0.1));
        }
    }

    @Test
    void centralizedRowsHaveMeanZeroAndStaySoAndVectorsAreLeftAlone() {
        try (Parameters parameters = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32);
                TensorScope scope = TensorScope.open()) {
            parameters.gradients().copy_(torch.rand(parameters.gradients().sizes()));
            Tensor norms = parameters.get("model.norm.weight").gradient().clone();

            apply(parameters, List.of(Strategy.CENTRALIZE), 0);
            double[] once = TensorArrays.values(parameters.gradients());
            apply(parameters, List.of(Strategy.CENTRALIZE), 1);

            Tensor rows = parameters.get("lm_head.weight").gradient();
            assertThat(rows.mean(1).abs().max().item_double()).isLessThan(1e-7);
            assertThat(TensorArrays.relative(TensorArrays.values(parameters.gradients()), once))
                    .isLessThan(1e-6);
            assertThat(torch.equal(parameters.get("model.norm.weight").gradient(), norms))
                    .isTrue();
        }
    }

    @Test
    void embeddingsAndHeadCanBeLeftOut() {
        StrategyConfig config =
                new StrategyConfig(List.of(Strategy.CENTRALIZE), 1e-3, 5, 5e-3, 1e-4, 1.5, 1.2, 1, false);
        try (Parameters parameters = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32)) {
            parameters.gradients().fill_(new Scalar(1.0));

            new GradientStrategies(config, 7).apply(slices(parameters), 0, 1);

            List<String> untouched = parameters.all().stream()
                    .filter(p -> p.gradient().dim() > 1 && p.gradient().max().item_double() == 1)
                    .map(Parameter::name)
                    .toList();
            assertThat(untouched).containsExactlyInAnyOrder("model.embed_tokens.weight", "lm_head.weight");
        }
    }

    @Test
    void nothingHappensWhenNothingIsOn() {
        try (Parameters parameters = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32);
                TensorScope scope = TensorScope.open()) {
            parameters.gradients().fill_(new Scalar(1e-7));
            Tensor before = parameters.gradients().clone();

            GradientStrategies.Outcome outcome = apply(parameters, List.of(), 0);

            assertThat(outcome).isEqualTo(GradientStrategies.Outcome.NOTHING);
            assertThat(torch.equal(parameters.gradients(), before)).isTrue();
        }
    }
}
