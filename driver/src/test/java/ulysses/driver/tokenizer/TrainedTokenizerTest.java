package ulysses.driver.tokenizer;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import ulysses.driver.ReferenceFiles;
import ulysses.driver.dataset.Example.Message;
import ulysses.driver.dataset.Example.Role;
import ulysses.driver.jinja.JinjaTemplate;
import ulysses.driver.tokenizer.ChatEncoder.EarlierThoughts;
import ulysses.driver.tokenizer.ChatEncoder.Turn;
import ulysses.runtime.weights.Folder;

/** What generates with a trained folder sees the texts that were trained, and stops where they did. */
final class TrainedTokenizerTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Configuration HADOOP = new Configuration();
    private static final ChatEncoder.Options OPTIONS =
            new ChatEncoder.Options(null, null, Thinking.TRAINED, false, "01 Jan 2026", false);

    @TempDir
    private Path folder;

    static Stream<String> templates() {
        return ChatTemplates.of(null, HADOOP).names().stream();
    }

    @ParameterizedTest
    @MethodSource("templates")
    void jinjaGivesTheTextThatIsTrained(String name) {
        Tokenizer tokenizer = ReferenceFiles.tokenizer("small-bpe-markers");
        ChatEncoder encoder = ChatEncoder.of(name, null, tokenizer, OPTIONS, HADOOP);
        String thought =
                String.join("", ChatTemplates.of(null, HADOOP).named(name).thoughtWords());
        for (String system : List.of("", "Don't\\'t be {rude}.\n")) {
            List<Message> messages = List.of(
                    new Message(Role.USER, " What's 2+2? "),
                    new Message(Role.ASSISTANT, thought + "It's 4.\n"),
                    new Message(Role.OBSERVATION, "{\"sum\": 4}"),
                    new Message(Role.ASSISTANT, thought + "Yes."),
                    new Message(Role.USER, "中文 \\n?"),
                    new Message(Role.ASSISTANT, thought + "好的"));

            String text = JinjaTemplate.parse(encoder.asJinja().orElseThrow())
                    .render(Map.of("messages", transformers(system, messages)), LocalDate.of(2026, 1, 1))
                    .text();

            List<int[]> ids = encoder.turns(messages, system, "", EarlierThoughts.KEPT).stream()
                    .flatMap((Turn turn) -> Stream.of(turn.source(), turn.target()))
                    .toList();
            assertThat(text).isEqualTo(tokenizer.decode(TokenIds.concatenate(ids)));
        }
    }

    private static JsonNode transformers(String system, List<Message> messages) {
        ArrayNode all = JSON.createArrayNode();
        if (!system.isEmpty()) {
            all.add(TokenizerChat.message("system", system));
        }
        for (Message message : messages) {
            String role = message.role() == Role.OBSERVATION
                    ? "tool"
                    : message.role().name().toLowerCase(java.util.Locale.ROOT);
            all.add(TokenizerChat.message(role, message.content()));
        }
        return all;
    }

    @Test
    void endPaddingAndTemplateAreThoseOfTheRun() throws IOException {
        Path model = ReferenceFiles.unpack("small-bpe-llama3");
        for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
            Files.copy(model.resolve(name), folder.resolve(name));
        }
        Files.writeString(folder.resolve("config.json"), "{\"eos_token_id\": 1, \"hidden_size\": 8}");
        Files.writeString(folder.resolve("generation_config.json"), "{\"eos_token_id\": 1, \"top_p\": 0.9}");
        Tokenizer before = ReferenceFiles.tokenizer("small-bpe-llama3");
        ChatEncoder encoder = ChatEncoder.of("llama3", null, before, OPTIONS, HADOOP);
        int eot = before.id("<|eot_id|>").orElseThrow();

        TrainedTokenizer.write(encoder, Folder.at(folder.toString(), HADOOP));
        Map<String, String> once = contents();
        TrainedTokenizer.write(encoder, Folder.at(folder.toString(), HADOOP));

        assertThat(contents()).isEqualTo(once);
        Tokenizer after = Tokenizer.open(folder.toString(), HADOOP);
        assertThat(after.eosToken()).hasValue("<|eot_id|>");
        assertThat(after.padToken()).hasValue("<|eot_id|>");
        assertThat(after.bosToken()).isEqualTo(before.bosToken());
        assertThat(after.chatTemplate()).isPresent();
        JsonNode config = json("config.json");
        assertThat(config.get("eos_token_id").intValue()).isEqualTo(eot);
        assertThat(config.get("pad_token_id").intValue()).isEqualTo(eot);
        assertThat(config.get("hidden_size").intValue()).isEqualTo(8);
        assertThat(json("generation_config.json").get("eos_token_id"))
                .isEqualTo(JSON.createArrayNode().add(eot).add(1));
        ChatTemplate again =
                TokenizerChat.of(after, OPTIONS).orElseThrow().parsed().orElseThrow();
        ChatTemplate trained = ChatTemplates.of(null, HADOOP).named("llama3");
        assertThat(again.user()).isEqualTo(trained.user());
        assertThat(again.assistant()).isEqualTo(trained.assistant());
    }

    @Test
    void aChatTemplateThatWasThereStays() throws IOException {
        Path model = ReferenceFiles.unpack("qwen3");
        for (String name : List.of("tokenizer.json", "tokenizer_config.json")) {
            Files.copy(model.resolve(name), folder.resolve(name));
        }
        Tokenizer before = ReferenceFiles.tokenizer("qwen3");

        TrainedTokenizer.write(
                ChatEncoder.of("qwen3", null, before, OPTIONS, HADOOP), Folder.at(folder.toString(), HADOOP));

        assertThat(Tokenizer.open(folder.toString(), HADOOP).chatTemplate()).isEqualTo(before.chatTemplate());
        assertThat(folder.resolve("chat_template.jinja")).doesNotExist();
        assertThat(folder.resolve("config.json")).doesNotExist();
    }

    private JsonNode json(String name) throws IOException {
        return JSON.readTree(Files.readString(folder.resolve(name)));
    }

    private Map<String, String> contents() throws IOException {
        return Map.of(
                "config", Files.readString(folder.resolve("config.json")),
                "generation", Files.readString(folder.resolve("generation_config.json")),
                "tokenizer", Files.readString(folder.resolve("tokenizer_config.json")),
                "template", Files.readString(folder.resolve("chat_template.jinja")));
    }
}
