package ulysses.driver.packing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.ObjectInputStream;
import java.io.ObjectOutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.Function;
import java.util.stream.IntStream;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.driver.ReferenceFiles;
import ulysses.driver.dataset.Example;
import ulysses.driver.dataset.Example.Conversation;
import ulysses.driver.dataset.Example.Message;
import ulysses.driver.dataset.Example.Role;
import ulysses.driver.dataset.RecordedRows;
import ulysses.driver.tokenizer.ChatEncoder;
import ulysses.driver.tokenizer.Thinking;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.TuningConfig.Stage;
import ulysses.runtime.data.DataException;

class ExampleEncoderTest {

    @ParameterizedTest
    @CsvSource({
        "llama3, 29",
        "qwen, 29",
        "qwen3, 47",
        "qwen3_nothink, 29",
        "chatml, 29",
        "mistral, 29",
        "default, 29",
        "empty, 29",
        "qwen3-tokenizer, 60"
    })
    void givesTheIdsAndLabelsOfLlamaFactory(String file, int cases) {
        List<JsonNode> recorded = ReferenceFiles.lines("templates/" + file);

        List<String> differences = new ArrayList<>();
        for (JsonNode line : recorded) {
            differences.addAll(differences(line));
        }

        assertThat(differences).isEmpty();
        assertThat(recorded).hasSize(cases);
    }

    @Test
    void givesThePairsOfLlamaFactory() {
        List<JsonNode> recorded = ReferenceFiles.lines("templates/preference");

        for (JsonNode line : recorded) {
            ExampleEncoder encoder = encoder(line);
            List<EncodedPair> pairs = RecordedRows.examples(line).stream()
                    .map(encoder::encodePair)
                    .filter(EncodedPair.class::isInstance)
                    .map(EncodedPair.class::cast)
                    .toList();
            assertThat(pairs)
                    .as("%s", line.get("case"))
                    .hasSize(line.get("expected").size());
            for (int i = 0; i < pairs.size(); i++) {
                JsonNode expected = line.get("expected").get(i);
                EncodedPair pair = pairs.get(i);
                assertThat(pair.chosen().ids())
                        .as("%s", line.get("case"))
                        .isEqualTo(ints(expected.get("chosen_input_ids")));
                assertThat(pair.chosen().labels()).isEqualTo(ints(expected.get("chosen_labels")));
                assertThat(pair.rejected().ids()).isEqualTo(ints(expected.get("rejected_input_ids")));
                assertThat(pair.rejected().labels()).isEqualTo(ints(expected.get("rejected_labels")));
            }
        }
        assertThat(recorded).hasSize(52);
    }

    @Test
    void encodesPretrainingTextsAsLlamaFactoryDoes() {
        List<JsonNode> recorded = ReferenceFiles.lines("templates/pretrain");

        for (JsonNode line : recorded) {
            JsonNode expected = line.get("expected");
            List<int[]> ids = blocks(line, EncodedExample::ids);
            List<int[]> labels = blocks(line, EncodedExample::labels);
            assertThat(ids).as("%s", line.get("case")).hasSize(expected.has("error") ? 0 : expected.size());
            for (int i = 0; i < ids.size(); i++) {
                assertThat(ids.get(i))
                        .as("ids of %s", line.get("case"))
                        .isEqualTo(ints(expected.get(i).get("input_ids")));
                assertThat(labels.get(i))
                        .as("labels of %s", line.get("case"))
                        .isEqualTo(ints(expected.get(i).get("labels")));
            }
        }
        assertThat(recorded).hasSize(24);
    }

    /** LLaMA-Factory's blocks: texts joined per batch and cut, the rest of the batch dropped. */
    private static List<int[]> blocks(JsonNode recorded, Function<EncodedExample, int[]> side) {
        ExampleEncoder encoder = encoder(recorded);
        JsonNode args = recorded.get("args");
        List<int[]> texts = RecordedRows.examples(recorded).stream()
                .map(example -> side.apply((EncodedExample) encoder.encode(example)))
                .toList();
        if (args.has("packing") && !args.get("packing").booleanValue()) {
            return texts;
        }
        int length = args.get("cutoff_len").intValue() - (args.has("packing") ? 1 : 0);
        int batch = args.path("preprocessing_batch_size").asInt(1000);
        List<int[]> blocks = new ArrayList<>();
        for (int first = 0; first < texts.size(); first += batch) {
            int[] all = texts.subList(first, Math.min(first + batch, texts.size())).stream()
                    .flatMapToInt(IntStream::of)
                    .toArray();
            for (int at = 0; at + length <= all.length; at += length) {
                blocks.add(Arrays.copyOfRange(all, at, at + length));
            }
        }
        return blocks;
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "bad/tools-not-json",
                "bad/call-not-json",
                "bad/thought-without-line-ends-before-call",
                "bad/content-is-a-list",
                "bad/tags-without-observation"
            })
    void stopsWhereLlamaFactoryStops(String name) {
        JsonNode recorded = badInput(name);

        assertThat(differences(recorded)).isEmpty();
    }

    private static JsonNode badInput(String name) {
        return ReferenceFiles.lines("templates/bad-input").stream()
                .filter(line -> line.get("case").textValue().equals(name))
                .findFirst()
                .orElseThrow();
    }

    @Test
    void saysWhatIsWrongWithARow() {
        assertThat(message("bad/tools-not-json"))
                .startsWith("tools is not valid JSON: ")
                .contains("in [{; write a JSON list");
        assertThat(message("bad/call-not-json"))
                .startsWith("a function call is not valid JSON: ")
                .contains("in not json;");
        assertThat(message("bad/content-is-a-list"))
                .isEqualTo(
                        "content of message 0 is not text but [{\"type\": \"text\", \"value\": \"q\"}]; only text is trained");
        assertThat(message("bad/tags-without-observation"))
                .startsWith("role tool of message 2 is not among the tags of dataset case");
    }

    private static @Nullable String message(String name) {
        JsonNode recorded = badInput(name);
        ExampleEncoder encoder = encoder(recorded);
        try {
            RecordedRows.examples(recorded).forEach(encoder::encode);
            return null;
        } catch (DataException refused) {
            return refused.getMessage();
        }
    }

    @Test
    void refusesAnUnknownTemplateWithTheNearestName() {
        assertThatThrownBy(
                        () -> new ExampleEncoder(rules(Stage.SFT, "lama3"), ReferenceFiles.tokenizer("small-bpe-qwen")))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(
                        "template lama3 is not known; did you mean llama3? Known are llama3, qwen, qwen3, qwen3_nothink, "
                                + "chatml, mistral, default, empty, ");
    }

    @Test
    void withoutAnyTemplateTakesEmptyAsLlamaFactoryDoes() {
        Tokenizer tokenizer = ReferenceFiles.tokenizer("small-bpe-qwen");
        Example hello =
                new Conversation(List.of(new Message(Role.USER, "Hello"), new Message(Role.ASSISTANT, "Hi")), "", "");

        ExampleEncoder none = new ExampleEncoder(rules(Stage.SFT, null), tokenizer);

        assertThat(none.encode(hello))
                .isEqualTo(new ExampleEncoder(rules(Stage.SFT, "empty"), tokenizer).encode(hello));
        Encoded text = new ExampleEncoder(rules(Stage.PT, null), tokenizer).encode(new Example.PlainText("Hi"));
        assertThat(tokenizer.decode(((EncodedExample) text).ids())).isEqualTo("Hi<|im_end|>");
    }

    @Test
    void refusesATokenizerWithoutTheTokensOfTheTemplate() throws IOException {
        Path folder = ReferenceFiles.unpack("small-bpe-llama3");
        Path json = folder.resolve("tokenizer.json");
        Files.writeString(json, Files.readString(json).replace("<|im_end|>", "<|finished|>"));
        Tokenizer tokenizer = Tokenizer.open(folder.toString(), new Configuration());

        assertThatThrownBy(() -> new ExampleEncoder(rules(Stage.SFT, "qwen"), tokenizer))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("template qwen needs the token <|im_end|>, which the tokenizer in " + folder);
    }

    @Test
    void countsWhatIsCut() {
        ExampleEncoder encoder = new ExampleEncoder(
                new EncodingRules(Stage.SFT, "qwen", null, 16, false, false, false, false, options()),
                ReferenceFiles.tokenizer("small-bpe-qwen"));
        Example question = new Conversation(
                List.of(new Message(Role.USER, "word ".repeat(50)), new Message(Role.ASSISTANT, "yes")), "", "");

        EncodedExample encoded = (EncodedExample) encoder.encode(question);

        assertThat(encoded.length()).isEqualTo(16);
        assertThat(encoded.truncated()).isTrue();
        assertThat(encoded.originalTokens()).isGreaterThan(60);
        assertThat(encoded.trainedTokens())
                .isEqualTo(ReferenceFiles.tokenizer("small-bpe-qwen").encode("yes<|im_end|>\n").length);
    }

    @Test
    void survivesTheWayToAnExecutor() throws IOException, ClassNotFoundException {
        ExampleEncoder encoder =
                new ExampleEncoder(rules(Stage.SFT, "qwen3"), ReferenceFiles.tokenizer("small-bpe-qwen"));
        Example hello =
                new Conversation(List.of(new Message(Role.USER, "Hello"), new Message(Role.ASSISTANT, "Hi")), "", "");

        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
            out.writeObject(encoder);
        }
        ExampleEncoder arrived;
        try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
            arrived = (ExampleEncoder) in.readObject();
        }

        assertThat(arrived.encode(hello)).isEqualTo(encoder.encode(hello));
    }

    @Test
    void refusesToTrainOnPromptWithMaskedHistory() {
        EncodingRules both = new EncodingRules(Stage.SFT, "qwen", null, 64, false, true, true, false, options());

        assertThatThrownBy(() -> new ExampleEncoder(both, ReferenceFiles.tokenizer("small-bpe-qwen")))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("train_on_prompt and mask_history exclude each other");
    }

    private static EncodingRules rules(Stage stage, @Nullable String template) {
        return new EncodingRules(stage, template, null, 2048, false, false, false, false, options());
    }

    private static ChatEncoder.Options options() {
        return new ChatEncoder.Options(null, null, Thinking.TRAINED, false, "01 Jan 2026", false);
    }

    static List<String> differences(JsonNode recorded) {
        String name = recorded.get("case").textValue();
        JsonNode expected = recorded.get("expected");
        List<EncodedExample> actual = new ArrayList<>();
        try {
            ExampleEncoder encoder = encoder(recorded);
            for (Example example : RecordedRows.examples(recorded)) {
                if (encoder.encode(example) instanceof EncodedExample kept) {
                    actual.add(kept);
                }
            }
        } catch (DataException | ConfigException refused) {
            return expected.has("error") ? List.of() : List.of(name + " is refused: " + refused.getMessage());
        }
        if (expected.has("error")) {
            return List.of(name + " is accepted, but LLaMA-Factory stops with " + expected);
        }
        if (expected.size() != actual.size()) {
            return List.of(name + " keeps %d rows instead of %d".formatted(actual.size(), expected.size()));
        }
        List<String> differences = new ArrayList<>();
        for (int i = 0; i < expected.size(); i++) {
            if (!Arrays.equals(
                    ints(expected.get(i).get("input_ids")), actual.get(i).ids())) {
                differences.add("%s row %d: ids differ, decoded %s"
                        .formatted(
                                name,
                                i,
                                ReferenceFiles.tokenizer(
                                                recorded.get("tokenizer").textValue())
                                        .decode(actual.get(i).ids())));
            } else if (!Arrays.equals(
                    ints(expected.get(i).get("labels")), actual.get(i).labels())) {
                differences.add("%s row %d: labels differ".formatted(name, i));
            }
        }
        return differences;
    }

    static ExampleEncoder encoder(JsonNode recorded) {
        JsonNode args = recorded.get("args");
        JsonNode thinking = args.path("enable_thinking");
        EncodingRules rules = new EncodingRules(
                recorded.get("stage").textValue().equals("pt") ? Stage.PT : Stage.SFT,
                recorded.get("template").textValue(),
                null,
                args.path("cutoff_len").asInt(2048),
                args.has("packing") && !args.get("packing").booleanValue(),
                args.path("train_on_prompt").asBoolean(),
                args.path("mask_history").asBoolean(),
                args.path("split_special_tokens").asBoolean(),
                new ChatEncoder.Options(
                        args.path("default_system").textValue(),
                        toolFormat(recorded),
                        thinking.isMissingNode()
                                ? Thinking.TRAINED
                                : Thinking.of(thinking.isNull() ? null : thinking.booleanValue()),
                        args.path("preserve_thinking").asBoolean(),
                        recorded.get("date").textValue(),
                        false));
        return new ExampleEncoder(
                rules, ReferenceFiles.tokenizer(recorded.get("tokenizer").textValue()));
    }

    /**
     * LLaMA-Factory keeps tool_format in its global templates. The program that recorded qwen3-tokenizer.jsonl restored them only
     * after each case of one file, so there every template but qwen3 still has the format of the last case of its own file
     * ({@code <template>/tool-format-...}). A fresh process, which is what a user has, gives what the files per template record.
     */
    private static @Nullable String toolFormat(JsonNode recorded) {
        JsonNode written = recorded.get("args").path("tool_format");
        @Nullable String template = recorded.get("template").textValue();
        if (template == null
                || !written.isMissingNode()
                || !recorded.get("case").textValue().contains("/qwen3-tokenizer/")) {
            return written.textValue();
        }
        return switch (template) {
            case "qwen3" -> null;
            case "qwen", "qwen3_nothink" -> "default";
            default -> "qwen";
        };
    }

    private static int[] ints(JsonNode array) {
        int[] values = new int[array.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = array.get(i).intValue();
        }
        return values;
    }
}
