package ulysses.driver.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Test;
import ulysses.driver.ReferenceFiles;
import ulysses.driver.dataset.Example.Message;
import ulysses.driver.dataset.Example.Role;
import ulysses.driver.tokenizer.ChatEncoder.EarlierThoughts;
import ulysses.driver.tokenizer.ChatEncoder.Turn;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.data.DataException;

/** Whole conversations through the tokenizer's own chat template: ids as transformers gives them, answers found. */
class JinjaChatEncoderTest {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** Qwen2.5, Qwen3 (all kinds) and others on Qwen3's tokenizer: {@code apply_chat_template} of transformers 5.6.0. */
    @Test
    void givesTheIdsOfTransformers() throws IOException {
        int compared = 0;
        for (JsonNode line : ReferenceFiles.lines("jinja/chat-templates")) {
            if (!line.get("cases").get(0).has("ids")
                    || line.get("template").textValue().contains("message.content.text")) {
                continue;
            }
            ChatEncoder encoder = encoder("qwen3", line.get("template").textValue(), false);
            for (JsonNode expected : line.get("cases")) {
                if (isConversation(expected)) {
                    List<Turn> turns = turns(encoder, expected);
                    assertThat(all(turns))
                            .as("%s/%s", line.get("name"), expected.get("case"))
                            .isEqualTo(numbers(expected.get("ids")));
                    compared++;
                }
            }
        }
        assertThat(compared).isGreaterThanOrEqualTo(20);
    }

    private static boolean isConversation(JsonNode recorded) {
        JsonNode messages = recorded.get("messages");
        return recorded.has("ids")
                && !recorded.get("add_generation_prompt").booleanValue()
                && !recorded.get("case").textValue().equals("wrong-order")
                && !recorded.get("case").textValue().equals("tools-two")
                && messages.get(messages.size() - 1).get("role").textValue().equals("assistant");
    }

    private static List<Turn> turns(ChatEncoder encoder, JsonNode recorded) throws IOException {
        List<Message> messages = new ArrayList<>();
        String system = "";
        for (JsonNode message : recorded.get("messages")) {
            String content = message.get("content").textValue();
            switch (message.get("role").textValue()) {
                case "system" -> system = content;
                case "user" -> messages.add(new Message(Role.USER, content));
                case "tool" -> messages.add(new Message(Role.OBSERVATION, content));
                default ->
                    messages.add(
                            message.has("tool_calls")
                                    ? new Message(
                                            Role.FUNCTION,
                                            JSON.writeValueAsString(message.path("tool_calls")
                                                    .path(0)
                                                    .path("function")))
                                    : new Message(Role.ASSISTANT, content));
            }
        }
        String tools = recorded.get("tools").isNull() ? "" : JSON.writeValueAsString(recorded.get("tools"));
        return encoder.turns(messages, system, tools, EarlierThoughts.KEPT);
    }

    private static int[] all(List<Turn> turns) {
        return turns.stream()
                .flatMapToInt(turn -> IntStream.concat(IntStream.of(turn.source()), IntStream.of(turn.target())))
                .toArray();
    }

    private static ChatEncoder encoder(String tokenizer, String template, boolean literal) throws IOException {
        return encoder(ChatEncoder.JINJA, tokenizer, template, literal);
    }

    private static ChatEncoder encoder(@Nullable String name, String tokenizer, String template, boolean literal)
            throws IOException {
        Path folder = ReferenceFiles.unpack(tokenizer);
        Path file = folder.resolve("tokenizer_config.json");
        ObjectNode config = (ObjectNode) JSON.readTree(file.toFile());
        config.put("chat_template", template);
        Files.writeString(file, config.toString());
        return ChatEncoder.of(
                name,
                null,
                Tokenizer.open(folder.toString(), new Configuration()),
                options(literal),
                new Configuration());
    }

    private static ChatEncoder.Options options(boolean literal) {
        return new ChatEncoder.Options(null, null, Thinking.TRAINED, false, "01 Jan 2026", literal);
    }

    private static final String PLAIN = "{{ bos_token }}{% for m in messages %}<|im_start|>{{ m.role }}\n"
            + "{{ m.content }}<|im_end|>\n{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    private static final String FORGETS = "{% for m in messages %}<|im_start|>{{ m.role }}\n"
            + "{% if m.role == 'assistant' and not loop.last %}{{ m.content.split('</think>')[-1]|trim }}"
            + "{% else %}{{ m.content }}{% endif %}<|im_end|>\n{% endfor %}"
            + "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}";
    private static final String WITHOUT_HEADER =
            "{% for m in messages %}{% if m.role == 'user' %}[INST] {{ m.content }} [/INST]{% else %} {{ m.content }}{{ eos_token }}"
                    + "{% endif %}{% endfor %}";
    private static final List<Message> TWO_TURNS = List.of(
            new Message(Role.USER, "Eins?"),
            new Message(Role.ASSISTANT, "<think>\nhm\n</think>\n\nJa 1."),
            new Message(Role.USER, "Zwei?"),
            new Message(Role.ASSISTANT, "Nein 2."));

    @Test
    void trainsWhatFollowsTheHeaderOfAnAnswer() throws IOException {
        ChatEncoder encoder = encoder("small-bpe-qwen", PLAIN, false);

        List<Turn> turns = encoder.turns(TWO_TURNS, "", "", EarlierThoughts.KEPT);

        assertThat(texts(encoder, turns))
                .containsExactly(
                        "<|im_start|>user\nEins?<|im_end|>\n<|im_start|>assistant\n",
                        "<think>\nhm\n</think>\n\nJa 1.<|im_end|>\n",
                        "<|im_start|>user\nZwei?<|im_end|>\n<|im_start|>assistant\n",
                        "Nein 2.<|im_end|>\n");
    }

    @Test
    void findsAnswersWhoseThoughtsTheTemplateForgets() throws IOException {
        ChatEncoder encoder = encoder("small-bpe-qwen", FORGETS, false);

        List<Turn> turns = encoder.turns(TWO_TURNS, "", "", EarlierThoughts.KEPT);

        assertThat(texts(encoder, turns))
                .containsExactly(
                        "<|im_start|>user\nEins?<|im_end|>\n<|im_start|>assistant\n",
                        "Ja 1.<|im_end|>\n",
                        "<|im_start|>user\nZwei?<|im_end|>\n<|im_start|>assistant\n",
                        "Nein 2.<|im_end|>\n");
    }

    @Test
    void findsAnswersWithoutAHeader() throws IOException {
        ChatEncoder encoder = encoder("small-bpe-llama3", WITHOUT_HEADER, false);

        List<Turn> turns = encoder.turns(TWO_TURNS, "", "", EarlierThoughts.KEPT);

        assertThat(texts(encoder, turns))
                .containsExactly(
                        "[INST] Eins? [/INST]",
                        " <think>\nhm\n</think>\n\nJa 1.<|end_of_text|>",
                        "[INST] Zwei? [/INST]",
                        " Nein 2.<|end_of_text|>");
    }

    @Test
    void takesWhatTheTemplateMarksAsGenerated() throws IOException {
        ChatEncoder encoder = encoder(
                "small-bpe-llama3",
                "{% for m in messages %}{% if m.role == 'user' %}Q {{ m.content }}{% else %}A {% generation %}{{ m.content }}{% endgeneration %}!{% endif %}{% endfor %}",
                false);

        List<Turn> turns = encoder.turns(TWO_TURNS.subList(2, 4), "", "", EarlierThoughts.KEPT);

        assertThat(texts(encoder, turns)).containsExactly("Q Zwei?A", " Nein 2.");
    }

    @Test
    void keepsSpecialTokensInDataLiteral() throws IOException {
        ChatEncoder encoder = encoder("small-bpe-qwen", PLAIN, true);
        List<Message> messages =
                List.of(new Message(Role.USER, "a<|im_end|>b"), new Message(Role.ASSISTANT, "<|im_start|>"));

        List<Turn> turns = encoder.turns(messages, "", "", EarlierThoughts.KEPT);

        int end = encoder.tokenizer().id("<|im_end|>").orElseThrow();
        assertThat(texts(encoder, turns))
                .containsExactly(
                        "<|im_start|>user\na<|im_end|>b<|im_end|>\n<|im_start|>assistant",
                        "\n<|im_start|><|im_end|>\n");
        assertThat(IntStream.of(all(turns)).filter(id -> id == end).count()).isEqualTo(2);
    }

    private static List<String> texts(ChatEncoder encoder, List<Turn> turns) {
        List<String> texts = new ArrayList<>();
        for (Turn turn : turns) {
            texts.add(encoder.tokenizer().decode(turn.source()));
            texts.add(encoder.tokenizer().decode(turn.target()));
        }
        return texts;
    }

    @Test
    void runsTemplatesThatCannotBeTakenApart() throws IOException {
        String refusing =
                "{% if messages[0].role == 'system' %}{{ raise_exception('System role not supported') }}{% endif %}"
                        + PLAIN;

        ChatEncoder encoder = encoder(null, "small-bpe-qwen", refusing, false);

        assertThat(encoder.description()).isEqualTo("(the tokenizer's)");
        assertThat(encoder(null, "small-bpe-qwen", PLAIN, false).description())
                .isEqualTo("(the tokenizer's, taken apart)");
        assertThatThrownBy(() -> encoder.turns(TWO_TURNS, "Be kind.", "", EarlierThoughts.KEPT))
                .isInstanceOf(DataException.class)
                .hasMessage(
                        "the tokenizer's chat template refuses the conversation: System role not supported; change the row,"
                                + " or set template to one of templates.yaml");
    }

    @Test
    void refusesTemplatesThatCannotBeRead() {
        assertThatThrownBy(() -> encoder("small-bpe-qwen", "{% if %}", false))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(
                        "can't be read: line 1: a value is expected but the end is found; set template to");
        assertThatThrownBy(() -> ChatEncoder.of(
                        ChatEncoder.JINJA,
                        null,
                        ReferenceFiles.tokenizer("small-bpe-qwen"),
                        options(false),
                        new Configuration()))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("template jinja needs a chat template, which the tokenizer in");
    }

    @Test
    void refusesTemplatesThatRewriteAnswers() throws IOException {
        ChatEncoder encoder = encoder(
                "small-bpe-qwen",
                "{{ messages|length }}{% for m in messages %}{{ m.content|upper if loop.last else '-' }}{% endfor %}",
                false);

        assertThatThrownBy(() -> encoder.turns(TWO_TURNS, "", "", EarlierThoughts.KEPT))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("so that answer 1 can't be found in the conversation; set template to one of");
    }

    private static int[] numbers(JsonNode array) {
        return IntStream.range(0, array.size()).map(i -> array.get(i).asInt()).toArray();
    }
}
