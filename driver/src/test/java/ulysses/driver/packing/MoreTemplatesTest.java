package ulysses.driver.packing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import ulysses.driver.ReferenceFiles;
import ulysses.driver.dataset.Example.Conversation;
import ulysses.driver.dataset.Example.Message;
import ulysses.driver.dataset.Example.PlainText;
import ulysses.driver.dataset.Example.Role;
import ulysses.driver.dataset.RecordedRows;
import ulysses.driver.tokenizer.ChatEncoder;
import ulysses.driver.tokenizer.ChatTemplates;
import ulysses.driver.tokenizer.Thinking;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.TuningConfig.Stage;
import ulysses.runtime.data.DataException;

/**
 * Every template beyond the eight of the reference, as LLaMA-Factory 0.9.5 encodes it: turns, system texts, tools, thoughts, cuts,
 * preference pairs and pretraining (more-templates, made like the reference's template files), on the tokenizer small-bpe-markers.
 */
class MoreTemplatesTest {

    static Set<String> recordedTemplates() {
        return recorded().keySet();
    }

    private static Map<String, List<JsonNode>> recorded() {
        return ReferenceFiles.lines("templates/more-templates").stream()
                .collect(Collectors.groupingBy(line -> line.get("template").textValue()));
    }

    @ParameterizedTest
    @MethodSource("recordedTemplates")
    void givesTheIdsAndLabelsOfLlamaFactory(String template) {
        List<String> differences = new ArrayList<>();

        for (JsonNode line : recorded().getOrDefault(template, List.of())) {
            differences.addAll(
                    line.get("stage").textValue().equals("dpo")
                            ? differencesOfPairs(line)
                            : ExampleEncoderTest.differences(line));
        }

        assertThat(differences).isEmpty();
    }

    private static List<String> differencesOfPairs(JsonNode line) {
        ExampleEncoder encoder = ExampleEncoderTest.encoder(line);
        List<EncodedPair> pairs = RecordedRows.examples(line).stream()
                .map(encoder::encodePair)
                .map(EncodedPair.class::cast)
                .toList();
        JsonNode expected = line.get("expected").get(0);
        EncodedPair pair = pairs.get(0);
        Map<String, int[]> actual = Map.of(
                "chosen_input_ids", pair.chosen().ids(),
                "chosen_labels", pair.chosen().labels(),
                "rejected_input_ids", pair.rejected().ids(),
                "rejected_labels", pair.rejected().labels());
        return actual.entrySet().stream()
                .filter(side ->
                        !java.util.Arrays.equals(side.getValue(), Recorded.numbers(expected.get(side.getKey()))))
                .map(side -> line.get("case").textValue() + " differs in " + side.getKey())
                .toList();
    }

    @Test
    void everyTemplateIsRecorded() {
        Set<String> known =
                new TreeSet<>(ChatTemplates.of(null, new Configuration()).names());
        known.removeAll(recordedTemplates());

        assertThat(known).containsExactlyInAnyOrder("llama3", "qwen3", "qwen3_nothink", "chatml", "default", "empty");
    }

    @Test
    void takesTemplatesOfTheUsersOwnFile(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("mine.yaml");
        Files.writeString(file, """
                mine:
                  prefix: [{special: bos}]
                  user: ["Q: {{content}}\\nA:"]
                  assistant: [" {{content}}", {special: eos}]
                kind:
                  like: mine
                  default_system: Be kind.
                """);
        Tokenizer tokenizer = ReferenceFiles.tokenizer("small-bpe-llama3");

        EncodedExample encoded =
                (EncodedExample) new ExampleEncoder(rules("kind", file.toString(), false), tokenizer).encode(HELLO);

        assertThat(tokenizer.decode(encoded.ids()))
                .isEqualTo("<|begin_of_text|>Be kind.Q: Hello\nA: Hi<|im_end|> there<|end_of_text|>");
    }

    @Test
    void refusesTemplateFilesThatHoldSomethingElse(@TempDir Path folder) throws IOException {
        Path file = folder.resolve("mine.yaml");
        Map<String, String> problems = Map.of(
                "mine: {usr: [\"{{content}}\"]}", "template mine: key usr is not known; did you mean user?",
                "mine: {user: [\"Q\"]}", "template mine: user holds no {{content}}; say where the text goes",
                "mine: {user: \"{{content}}\"}", "template mine: user is no list; write [\"...\"]",
                "mine: {like: qwem}",
                        "template_file %s: template mine is like qwem, which is not known; did you mean qwen?"
                                .formatted(file),
                "mine: {tool_format: xml}",
                        "template mine: tool_format xml is not known; use one of default, gemma4, glm4,"
                                + " glm4_moe, lfm2, ling, llama3, minimax1, minimax2, mistral, qwen, qwen3_5, seed_oss",
                "mine: {replace_eos: true}",
                        "template mine: replace_eos needs stop_words; name the token that ends an answer",
                "- mine", "template_file %s: it is no mapping of names to templates".formatted(file));

        for (Map.Entry<String, String> problem : problems.entrySet()) {
            Files.writeString(file, problem.getKey());
            assertThatThrownBy(() -> ChatTemplates.of(file.toString(), new Configuration()))
                    .isInstanceOfSatisfying(
                            ConfigException.class,
                            refused -> assertThat(refused.problems()).containsExactly(problem.getValue()));
        }
        assertThatThrownBy(() -> ChatTemplates.of(folder + "/nowhere.yaml", new Configuration()))
                .hasMessageContaining("template_file %s/nowhere.yaml is not there; check the path".formatted(folder));
    }

    private static final Conversation HELLO = new Conversation(
            List.of(new Message(Role.USER, "Hello"), new Message(Role.ASSISTANT, "Hi<|im_end|> there")), "", "");

    /** The template's tokens stay special, those that data spells out become text; nothing else changes. */
    @Test
    void keepsSpecialTokensInDataLiteral() {
        Tokenizer tokenizer = ReferenceFiles.tokenizer("small-bpe-qwen");
        ExampleEncoder literal = new ExampleEncoder(rules("qwen", null, true), tokenizer);
        ExampleEncoder usual = new ExampleEncoder(rules("qwen", null, false), tokenizer);
        int end = tokenizer.id("<|im_end|>").orElseThrow();

        int[] ids = ((EncodedExample) literal.encode(HELLO)).ids();
        int[] usualIds = ((EncodedExample) usual.encode(HELLO)).ids();

        assertThat(count(usualIds, end)).isEqualTo(4);
        assertThat(count(ids, end)).isEqualTo(3);
        assertThat(tokenizer.decode(ids)).isEqualTo(tokenizer.decode(usualIds));
    }

    @Test
    void keepsSpecialTokensLiteralInToolsSystemAndTexts() {
        Tokenizer tokenizer = ReferenceFiles.tokenizer("small-bpe-qwen");
        int end = tokenizer.id("<|im_end|>").orElseThrow();
        Conversation conversation = new Conversation(
                List.of(
                        new Message(Role.USER, "<|im_start|>"),
                        new Message(
                                Role.FUNCTION,
                                "<think>\n<|im_end|>\n</think>\n\n{\"name\": \"a\\u003c|im_end|>\", \"arguments\": {\"<|im_end|>\": 1}}"),
                        new Message(Role.OBSERVATION, "<|im_end|>"),
                        new Message(Role.ASSISTANT, "ok")),
                "<|im_end|>",
                "[{\"name\": \"\\u003c|im_end|>\"}]");
        ExampleEncoder encoder = new ExampleEncoder(rules("qwen", null, true), tokenizer);

        int[] ids = ((EncodedExample) encoder.encode(conversation)).ids();
        int[] text = ((EncodedExample) new ExampleEncoder(rules(Stage.PT, "qwen", null, true), tokenizer)
                        .encode(new PlainText("a<|im_end|>b")))
                .ids();

        assertThat(count(ids, end)).isEqualTo(5);
        assertThat(tokenizer.decode(ids)).contains("<|im_end|>\n</think>", "\"a<|im_end|>\"");
        assertThat(count(text, end)).isEqualTo(1);
        assertThat(text[text.length - 1]).isEqualTo(end);
    }

    @Test
    void literalTokensChangeNothingInTextsWithoutThem() {
        List<JsonNode> recorded = ReferenceFiles.lines("templates/qwen").stream()
                .filter(line -> !line.get("rows").toString().contains("<|"))
                .toList();

        for (JsonNode line : recorded) {
            ExampleEncoder usual = ExampleEncoderTest.encoder(line);
            ExampleEncoder literal = new ExampleEncoder(
                    rules("qwen", null, true),
                    ReferenceFiles.tokenizer(line.get("tokenizer").textValue()));
            RecordedRows.examples(line).stream()
                    .limit(line.get("args").isEmpty() ? 3 : 0)
                    .forEach(example -> {
                        try {
                            assertThat(literal.encode(example)).isEqualTo(usual.encode(example));
                        } catch (DataException refused) {
                            assertThat(line.get("expected").has("error")).isTrue();
                        }
                    });
        }
        assertThat(recorded).hasSizeGreaterThan(5);
    }

    private static long count(int[] ids, int id) {
        return IntStream.of(ids).filter(other -> other == id).count();
    }

    private static EncodingRules rules(String template, @Nullable String file, boolean literal) {
        return rules(Stage.SFT, template, file, literal);
    }

    private static EncodingRules rules(Stage stage, String template, @Nullable String file, boolean literal) {
        return new EncodingRules(
                stage,
                template,
                file,
                2048,
                false,
                false,
                false,
                false,
                new ChatEncoder.Options(null, null, Thinking.TRAINED, false, "01 Jan 2026", literal));
    }
}
