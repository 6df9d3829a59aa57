package ulysses.runtime.model;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.memory.NativeRuntime;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.RotaryEmbedding.Rotation;
import ulysses.runtime.segment.Autograd;
import ulysses.runtime.weights.ModelSpec;

/** Frequencies, cos and sin against transformers' (rope.json, made by make_rope.py beside it, and the recorded models). */
final class RotaryEmbeddingTest {
    static {
        NativeRuntime.start(1);
    }

    private static final String RESOURCES = "src/test/resources/";

    /** One unit in the last place of float32, by which torch's power differs from Java's. */
    private static final double TOLERANCE = 1.2e-7;

    /** Dynamic scaling takes a power of a power. */
    private static final double DYNAMIC_TOLERANCE = 3e-7;

    static Stream<String> cases() {
        return StreamSupport.stream(
                ((Iterable<String>) () -> json("ulysses/runtime/model/rope.json")
                                .get("cases")
                                .fieldNames())
                        .spliterator(),
                false);
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("cases")
    void givesFrequenciesOfTransformers(String name) {
        JsonNode recorded = json("ulysses/runtime/model/rope.json").get("cases").get(name);
        RotaryEmbedding rotary =
                new RotaryEmbedding(ModelSpec.parse(recorded.get("config").toString(), name));

        assertThat(rotary.attentionFactor())
                .isCloseTo(recorded.get("attention_factor").asDouble(), within(1e-12));
        JsonNode frequencies = recorded.get("lengths").get(0).get("inv_freq");
        for (JsonNode entry : recorded.get("lengths")) {
            frequencies = entry.has("inv_freq") ? entry.get("inv_freq") : frequencies;
            int length = entry.get("length").asInt();
            assertThat(largestRelative(rotary.inverseFrequencies(length), frequencies))
                    .as("length %d", length)
                    .isLessThan(tolerance(name));
        }
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("cases")
    void givesCosAndSinOfTransformers(String name) {
        JsonNode recorded = json("ulysses/runtime/model/rope.json").get("cases").get(name);
        ModelSpec spec = ModelSpec.parse(recorded.get("config").toString(), name);
        try (TensorScope scope = TensorScope.open()) {
            for (JsonNode entry : recorded.get("lengths")) {
                int[] positions = ints(entry.get("positions"));
                Rotation rotation = new RotaryEmbedding(spec)
                        .at(positions, entry.get("length").asInt(), torch.ones(1));

                // A frequency off by one unit in the last place moves the angle of position p by p * 6e-8.
                double tolerance = 1e-6 + tolerance(name) * positions[positions.length - 1];
                compare(rotation.cos(), entry.get("cos"), spec, tolerance);
                compare(rotation.sin(), entry.get("sin"), spec, tolerance);
            }
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"tiny-llama", "tiny-llama31", "tiny-qwen2", "tiny-qwen3", "tiny-mistral"})
    void givesFrequenciesOfTheRecordedModels(String name) {
        JsonNode recorded =
                json("reference/cases/" + name + "/forward/case.json").get("rope");
        ModelSpec spec = ModelSpec.parse(
                json("reference/models/" + name + "/config.json").toString(), name);
        RotaryEmbedding rotary = new RotaryEmbedding(spec);

        assertThat(rotary.attentionFactor())
                .isEqualTo(recorded.get("attention_scaling").asDouble());
        assertThat(largestRelative(rotary.inverseFrequencies(1), recorded.get("inv_freq")))
                .isZero();
    }

    @Test
    void backwardTurnsBack() {
        ModelSpec spec = SmallModels.llama();
        try (TensorScope scope = TensorScope.open()) {
            Random random = new Random(1);
            int[] positions = {0, 1, 2, 0, 1, 50};
            Tensor x = TensorArrays.gaussian(random, 6, 3, spec.headSize());
            Tensor dOut = TensorArrays.gaussian(random, 6, 3, spec.headSize());
            Rotation rotation = new RotaryEmbedding(spec).at(positions, 51, x);

            Autograd.Result plain = Autograd.of(leaves -> plain(rotation, leaves.get(0)), List.of(x), dOut);

            assertThat(TensorArrays.relative(rotation.apply(x), plain(rotation, x)))
                    .isLessThan(1e-15);
            assertThat(TensorArrays.relative(
                            rotation.backward(dOut), plain.gradients().get(0)))
                    .isLessThan(1e-14);
            // Cos and sin are rounded to float32 before they are used, so a turn there and back is not closer.
            assertThat(TensorArrays.relative(rotation.backward(rotation.apply(x)), x))
                    .isLessThan(1e-6);
        }
    }

    /** x cos + [-x2, x1] sin, as the paper's formula is written in Hugging Face's layout. */
    private static Tensor plain(Rotation rotation, Tensor x) {
        long half = x.size(2) / 2;
        Tensor swapped = torch.cat(new TensorVector(x.narrow(2, half, half).neg(), x.narrow(2, 0, half)), 2);
        return x.mul(rotation.cos()).add(swapped.mul(rotation.sin()));
    }

    private static void compare(Tensor actual, JsonNode expectedHalf, ModelSpec spec, double tolerance) {
        double[] values = TensorArrays.values(actual); // [s,1,H], both halves alike
        int half = spec.headSize() / 2;
        for (int i = 0; i < values.length; i++) {
            int position = i / spec.headSize();
            double expected = expectedHalf.get(position * half + i % half).asDouble();
            assertThat(values[i]).as("element %d", i).isCloseTo(expected, within(tolerance));
        }
    }

    private static double tolerance(String name) {
        return name.startsWith("dynamic") ? DYNAMIC_TOLERANCE : TOLERANCE;
    }

    private static double largestRelative(float[] actual, JsonNode expected) {
        assertThat(actual).hasSize(expected.size());
        return IntStream.range(0, actual.length)
                .mapToDouble(i -> Math.abs(actual[i] / expected.get(i).asDouble() - 1))
                .max()
                .orElseThrow();
    }

    private static int[] ints(JsonNode array) {
        return IntStream.range(0, array.size()).map(i -> array.get(i).asInt()).toArray();
    }

    private static JsonNode json(String resource) {
        try {
            return new ObjectMapper().readTree(new File(RESOURCES + resource));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
