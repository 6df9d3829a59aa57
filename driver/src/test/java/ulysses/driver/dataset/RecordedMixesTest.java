package ulysses.driver.dataset;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * {@code num_samples}, {@code max_samples}, {@code mix_strategy} and {@code interleave_probs} of several datasets, training and
 * evaluation: the rows that LLaMA-Factory 0.9.5 (datasets 4.0.0) takes, in its order. A row is written dataset:row.
 */
class RecordedMixesTest {

    static Stream<JsonNode> recorded() throws IOException {
        try (InputStream json =
                Objects.requireNonNull(RecordedMixesTest.class.getResourceAsStream("/reference/mixes.json"))) {
            return StreamSupport.stream(new ObjectMapper().readTree(json).spliterator(), false)
                    .filter(mix -> !mix.get("args").has("val_size"));
        }
    }

    @ParameterizedTest
    @MethodSource("recorded")
    void takesTheRowsOfLlamaFactory(JsonNode recorded) {
        JsonNode args = recorded.get("args");
        long seed = args.path("seed").asLong(42);
        NumpyRandomState random = new NumpyRandomState(seed);
        List<String> evalNames =
                Arrays.asList(args.path("eval_dataset").asText("").split(",", -1));
        List<Integer> train = new ArrayList<>();
        List<Integer> eval = new ArrayList<>();
        for (int i = 0; i < recorded.get("datasets").size(); i++) {
            (evalNames.contains("s" + i) ? eval : train).add(i);
        }

        List<String> trainRows = mix(recorded, train, random, seed);
        List<String> evalRows = mix(recorded, eval, random, seed);

        assertThat(trainRows).isEqualTo(texts(recorded.get("train")));
        JsonNode expected =
                recorded.get("eval").isObject() ? recorded.get("eval").get("s1") : recorded.get("eval");
        assertThat(evalRows).isEqualTo(texts(expected));
    }

    private static List<String> mix(JsonNode recorded, List<Integer> datasets, NumpyRandomState random, long seed) {
        if (datasets.isEmpty()) {
            return List.of();
        }
        JsonNode args = recorded.get("args");
        List<String[]> drawn = new ArrayList<>();
        for (int dataset : datasets) {
            long rows = recorded.get("datasets").get(dataset).get(0).longValue();
            long samples = recorded.get("datasets").get(dataset).get(1).longValue();
            DrawnRows positions =
                    DrawnRows.of(rows, samples, args.path("max_samples").asInt(0), random);
            String[] order = new String[(int) positions.count()];
            for (long row = 0; row < rows; row++) {
                for (long position : positions.positions(row)) {
                    order[(int) position] = dataset + ":" + row;
                }
            }
            drawn.add(order);
        }
        List<Double> shares = Stream.of(args.path("interleave_probs").asText("").split(",", -1))
                .filter(share -> !share.isEmpty())
                .map(Double::valueOf)
                .toList();
        List<DatasetMix.Draws> mix = DatasetMix.of(
                args.path("mix_strategy").asText("concat"),
                drawn.stream().mapToLong(order -> order.length).toArray(),
                shares,
                seed);
        String[] mixed =
                new String[(int) mix.stream().mapToLong(DatasetMix.Draws::count).sum()];
        for (int i = 0; i < mix.size(); i++) {
            for (long draw = 0; draw < mix.get(i).count(); draw++) {
                mixed[(int) mix.get(i).rowNumber(draw)] = drawn.get(i)[(int) (draw % drawn.get(i).length)];
            }
        }
        return List.of(mixed);
    }

    private static List<String> texts(JsonNode array) {
        List<String> texts = new ArrayList<>();
        array.forEach(text -> texts.add(text.textValue()));
        return texts;
    }
}
