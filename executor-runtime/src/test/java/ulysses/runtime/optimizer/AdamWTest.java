package ulysses.runtime.optimizer;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.TreeMap;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.memory.StateHome;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.InitialWeights;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterPlan;

/** Against the update written out in float64. */
final class AdamWTest {

    private static final int STEPS = 5;

    @ParameterizedTest(name = "decay {0}, betas {1} {2}, epsilon {3}")
    @CsvSource({"0.1, 0.9, 0.999, 1e-8", "0, 0.9, 0.95, 1e-8", "0.5, 0.8, 0.99, 1e-3"})
    void equalsTheUpdateWrittenOut(double decay, double beta1, double beta2, double epsilon) {
        try (Parameters parameters = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32);
                AdamW adam = new AdamW(parameters, config(decay, beta1, beta2, epsilon));
                TensorScope scope = TensorScope.open()) {
            int elements = Math.toIntExact(parameters.elements());
            double[] start = TensorArrays.values(parameters.master());
            double[] weights = start.clone();
            long decayed = parameters.shares().get(0).block().runs(0).get(0).elements();
            double[] first = new double[elements];
            double[] second = new double[elements];
            Random random = new Random(11);
            for (int step = 1; step <= STEPS; step++) {
                double rate = 1e-3 * step;
                setGradients(parameters, random);
                double[] gradients = TensorArrays.values(parameters.gradients());
                for (int i = 0; i < elements; i++) {
                    weights[i] *= i < decayed ? 1 - rate * decay : 1;
                    first[i] = beta1 * first[i] + (1 - beta1) * gradients[i];
                    second[i] = beta2 * second[i] + (1 - beta2) * gradients[i] * gradients[i];
                    double mean = first[i] / (1 - Math.pow(beta1, step));
                    double variance = second[i] / (1 - Math.pow(beta2, step));
                    weights[i] -= rate * mean / (Math.sqrt(variance) + epsilon);
                }

                adam.step(rate);
            }

            assertThat(adam.steps()).isEqualTo(STEPS);
            assertThat(TensorArrays.relative(TensorArrays.values(adam.firstMoment()), first))
                    .isLessThan(1e-6);
            assertThat(TensorArrays.relative(TensorArrays.values(adam.secondMoment()), second))
                    .isLessThan(1e-6);
            assertThat(TensorArrays.relative(
                            moved(TensorArrays.values(parameters.master()), start), moved(weights, start)))
                    .isLessThan(1e-5); // float32 weights near 1 hold a movement of 1e-2 to six digits
        }
    }

    /** As where moments are away, and gradients are brought to them. */
    @Test
    void piecesChangeNoBit() {
        StepConfig config = config(0.1, 0.9, 0.999, 1e-8);
        try (Parameters whole = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32);
                Parameters cut = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32);
                AdamW atOnce = new AdamW(whole, config);
                AdamW inPieces = new AdamW(cut, config, StateHome.on(new Device("cpu")), 64)) {
            assertThat(whole.elements()).isGreaterThan(1000);
            for (int step = 1; step <= STEPS; step++) {
                setGradients(whole, new Random(step));
                setGradients(cut, new Random(step));
                atOnce.step(1e-3);
                inPieces.step(1e-3);
            }

            assertThat(TensorArrays.values(cut.master())).isEqualTo(TensorArrays.values(whole.master()));
            assertThat(TensorArrays.values(inPieces.secondMoment()))
                    .isEqualTo(TensorArrays.values(atOnce.secondMoment()));
        }
    }

    @Test
    void normsAndBiasesDoNotDecay() {
        ModelSpec spec = SmallModels.spec("qwen2", 4, 2, "");
        try (Parameters parameters = SmallModels.parameters(spec, ComputeType.FLOAT32);
                AdamW adam = new AdamW(parameters, config(0.25, 0.9, 0.999, 1e-8));
                TensorScope scope = TensorScope.open()) {
            Map<String, double[]> before = new TreeMap<>();
            parameters.all().forEach(p -> before.put(p.name(), TensorArrays.values(p.value())));
            parameters.zeroGradients();

            adam.step(0.5);

            for (Parameter parameter : parameters.all()) {
                boolean decays =
                        !parameter.name().contains("norm") && !parameter.name().endsWith(".bias");
                double[] expected = Objects.requireNonNull(before.get(parameter.name()));
                for (int i = 0; i < expected.length; i++) {
                    expected[i] *= decays ? 1 - 0.5 * 0.25 : 1;
                }
                assertThat(TensorArrays.relative(TensorArrays.values(parameter.value()), expected))
                        .as(parameter.name())
                        .isLessThan(decays ? 1e-7 : Double.MIN_VALUE);
            }
        }
    }

    @Test
    void aGroupHasItsOwnFactorOnTheRate() {
        ModelSpec spec = SmallModels.llama();
        ParameterPlan plan = ParameterPlan.partly(spec, name -> name.contains("layers.0"))
                .withRates(Map.of("model.layers.0.mlp.up_proj.weight", 4.0));
        try (Parameters parameters = new Parameters(plan, ComputeType.FLOAT32, new Device("cpu"));
                AdamW adam = new AdamW(parameters, config(0.25, 0.9, 0.999, 1e-8));
                TensorScope scope = TensorScope.open()) {
            new InitialWeights(spec, parameters).draw(7);
            Map<String, double[]> before = new TreeMap<>();
            parameters.all().forEach(p -> before.put(p.name(), TensorArrays.values(p.value())));

            adam.step(0.1);

            for (Parameter parameter : parameters.all()) {
                boolean faster = parameter.name().endsWith("up_proj.weight");
                double rate = parameter.isTrained() && !parameter.name().contains("norm") ? 0.1 * (faster ? 4 : 1) : 0;
                double[] expected = Objects.requireNonNull(before.get(parameter.name()));
                boolean first = parameter.name().contains("layers.0");
                for (int i = 0; i < expected.length; i++) {
                    expected[i] *= first ? 1 - rate * 0.25 : 1;
                }
                assertThat(TensorArrays.relative(TensorArrays.values(parameter.value()), expected))
                        .as(parameter.name())
                        .isLessThan(1e-7);
            }
            assertThat(parameters.elements())
                    .isEqualTo(adam.firstMoment().numel())
                    .isEqualTo(parameters.gradients().numel())
                    .isEqualTo(plan.trainedElements());
        }
    }

    @Test
    void bfloat16WeightsFollowTheirMasters() {
        try (Parameters parameters = SmallModels.parameters(SmallModels.llama(), ComputeType.BFLOAT16);
                AdamW adam = new AdamW(parameters, config(0.1, 0.9, 0.999, 1e-8));
                TensorScope scope = TensorScope.open()) {
            setGradients(parameters, new Random(1));

            adam.step(1e-5);

            assertThat(parameters.master().scalar_type().intern()).isEqualTo(torch.ScalarType.Float);
            assertThat(adam.firstMoment().scalar_type().intern()).isEqualTo(torch.ScalarType.Float);
            assertThat(torch.equal(parameters.weights(), parameters.master().to(torch.ScalarType.BFloat16)))
                    .isTrue();
        }
    }

    @Test
    void resumedMomentsGoOnAsIfNothingHappened() {
        StepConfig config = config(0.1, 0.9, 0.999, 1e-8);
        try (Parameters parameters = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32);
                AdamW adam = new AdamW(parameters, config);
                Parameters other = SmallModels.parameters(SmallModels.llama(), ComputeType.FLOAT32);
                AdamW resumed = new AdamW(other, config);
                TensorScope scope = TensorScope.open()) {
            Random random = new Random(2);
            for (int step = 0; step < 3; step++) {
                setGradients(parameters, random);
                adam.step(1e-3);
            }
            other.master().copy_(parameters.master());
            resumed.firstMoment().copy_(adam.firstMoment());
            resumed.secondMoment().copy_(adam.secondMoment());
            resumed.resumeAfter(adam.steps());

            setGradients(parameters, random);
            other.gradients().copy_(parameters.gradients());
            adam.step(1e-3);
            resumed.step(1e-3);

            assertThat(torch.equal(other.master(), parameters.master())).isTrue();
        }
    }

    private static void setGradients(Parameters parameters, Random random) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor gradients = TensorArrays.gaussian(random, parameters.elements());
            parameters.gradients().copy_(gradients.to(torch.ScalarType.Float));
        }
    }

    private static double[] moved(double[] end, double[] start) {
        double[] moved = new double[end.length];
        for (int i = 0; i < end.length; i++) {
            moved[i] = end[i] - start[i];
        }
        return moved;
    }

    private static StepConfig config(double decay, double beta1, double beta2, double epsilon) {
        return new StepConfig(
                1, 1, 1e-3, 1, STEPS, "constant", Map.of(), 0, 0, decay, beta1, beta2, epsilon, 1, 42, 42, true);
    }
}
