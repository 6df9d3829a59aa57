package ulysses.driver.tokenizer;

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
import java.util.List;
import java.util.Random;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.driver.ReferenceFiles;
import ulysses.runtime.data.DataException;

class TokenizerTest {

    @ParameterizedTest
    @ValueSource(strings = {"small-bpe-qwen", "small-bpe-llama3", "qwen3"})
    void givesTheIdsOfTransformers(String name) {
        Tokenizer tokenizer = ReferenceFiles.tokenizer(name);
        Tokenizer literal = tokenizer.spellingOutSpecialTokens();
        List<JsonNode> lines = ReferenceFiles.lines("tokenizers/" + name + ".tokenization");

        List<String> differences = new ArrayList<>();
        for (JsonNode line : lines) {
            String text = line.get("text").textValue();
            int[] expected = ints(line.get("ids"));
            int[] ids = tokenizer.encode(text);
            compare(differences, "ids of " + line, expected, ids);
            compare(
                    differences,
                    "split ids of " + line,
                    line.has("ids_split_special_tokens") ? ints(line.get("ids_split_special_tokens")) : expected,
                    literal.encode(text));
            String decoded = line.path("decoded").asText(text);
            if (!tokenizer.decode(expected).equals(decoded)) {
                differences.add("decoded " + line + " gives " + tokenizer.decode(expected));
            }
        }

        assertThat(lines).hasSize(656);
        assertThat(differences).isEmpty();
    }

    private static void compare(List<String> differences, String what, int[] expected, int[] actual) {
        if (!java.util.Arrays.equals(expected, actual)) {
            differences.add(what + " gives " + java.util.Arrays.toString(actual));
        }
    }

    private static int[] ints(JsonNode array) {
        int[] values = new int[array.size()];
        for (int i = 0; i < values.length; i++) {
            values[i] = array.get(i).intValue();
        }
        return values;
    }

    /** Words, punctuation, digits, white space, letters that compose and marks, in random order. */
    @ParameterizedTest
    @ValueSource(strings = {"small-bpe-qwen", "small-bpe-llama3", "qwen3"})
    void wordByWordGivesTheIdsOfTheWholeText(String name) {
        Tokenizer tokenizer = ReferenceFiles.tokenizer(name);
        String[] parts = {
            " ",
            " ",
            " a",
            " The",
            "word",
            "'s",
            "'S",
            "'re",
            ",",
            ".",
            "!\n",
            "\n",
            "\r\n",
            "\t",
            "  ",
            "1",
            "2024",
            "e\u0301",
            "\u0301",
            "\u00e9",
            "\u4e2d\u6587",
            "\ud83d\ude00",
            "<|im_end|>",
            "<think>",
            "_",
            "(",
            "\u00a0",
            "\u0085",
            "I",
            "\u017f",
            "\u200b",
            "\u001c",
            "-",
            "/",
            "'"
        };
        Random random = new Random(7);

        for (int i = 0; i < 3000; i++) {
            StringBuilder text = new StringBuilder();
            for (int part = random.nextInt(1, 30); part > 0; part--) {
                text.append(parts[random.nextInt(parts.length)]);
            }
            assertThat(tokenizer.encode(text.toString()))
                    .as("%s", text)
                    .isEqualTo(tokenizer.encodeAtOnce(text.toString()));
        }
    }

    @Test
    void neverCutsALongText() {
        Tokenizer tokenizer = ReferenceFiles.tokenizer("small-bpe-qwen");
        String text = "The quick brown fox jumps over the lazy dog. ".repeat(20_000);

        int[] ids = tokenizer.encode(text);

        assertThat(ids.length).isGreaterThan(150_000);
        assertThat(tokenizer.decode(ids)).isEqualTo(text);
    }

    @Test
    void knowsTheSpecialTokensOfItsConfiguration() {
        Tokenizer qwen = ReferenceFiles.tokenizer("small-bpe-qwen");
        Tokenizer llama = ReferenceFiles.tokenizer("small-bpe-llama3");

        assertThat(qwen.bosToken()).isEmpty();
        assertThat(qwen.eosToken()).contains("<|im_end|>");
        assertThat(qwen.padToken()).contains("<|endoftext|>");
        assertThat(llama.bosToken()).contains("<|begin_of_text|>");
        assertThat(llama.padToken()).isEmpty();
        assertThat(llama.addsBos()).isFalse();
        assertThat(qwen.id("<|im_start|>")).hasValue(4082);
        assertThat(qwen.id("<|nothing|>")).isEmpty();
    }

    @Test
    void survivesTheWayToAnExecutor() throws IOException, ClassNotFoundException {
        Tokenizer tokenizer = ReferenceFiles.tokenizer("small-bpe-llama3").spellingOutSpecialTokens();
        int[] before = tokenizer.encode("a <|eot_id|> b");

        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        try (ObjectOutputStream out = new ObjectOutputStream(bytes)) {
            out.writeObject(tokenizer);
        }
        Tokenizer arrived;
        try (ObjectInputStream in = new ObjectInputStream(new ByteArrayInputStream(bytes.toByteArray()))) {
            arrived = (Tokenizer) in.readObject();
        }

        assertThat(arrived.encode("a <|eot_id|> b")).isEqualTo(before);
        assertThat(arrived.fingerprint()).isEqualTo(tokenizer.fingerprint()).hasSize(64);
    }

    @Test
    void cutsATokenThatBecameSpecialOutOfTheText() {
        Tokenizer tokenizer = ReferenceFiles.tokenizer("small-bpe-qwen");
        int[] plain = tokenizer.encode("see the end");

        int[] special = tokenizer.withSpecialTokens(List.of("he")).encode("see the end");

        assertThat(special).contains(tokenizer.id("he").orElseThrow());
        assertThat(plain).doesNotContain(tokenizer.id("he").orElseThrow());
    }

    @Test
    void refusesAFolderWithoutTokenizer(@TempDir Path folder) {
        assertThatThrownBy(() -> Tokenizer.open(folder.toString(), new Configuration()))
                .isInstanceOf(DataException.class)
                .hasMessageContaining(folder + " holds no tokenizer.json")
                .hasMessageContaining("save_pretrained");
    }

    @Test
    void refusesADamagedTokenizer(@TempDir Path folder) throws IOException {
        Files.writeString(folder.resolve("tokenizer.json"), "{\"model\": ");

        assertThatThrownBy(() ->
                        Tokenizer.open(folder.toString(), new Configuration()).encode("x"))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("tokenizer.json is not valid JSON");
    }

    @Test
    void refusesAnEndTokenThatTheFileLacks() throws IOException {
        Path folder = ReferenceFiles.unpack("small-bpe-qwen");
        Files.writeString(folder.resolve("tokenizer_config.json"), "{\"eos_token\": {\"content\": \"<|stop|>\"}}");

        assertThatThrownBy(() -> Tokenizer.open(folder.toString(), new Configuration()))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("eos_token <|stop|>")
                .hasMessageContaining("not in tokenizer.json");
    }

    /** The library would end the process, or never come back. */
    @ParameterizedTest
    @ValueSource(strings = {"\"decoder\": %s", "\"pre_tokenizer\": {\"type\": \"Sequence\", \"pretokenizers\": [%s]}"})
    void refusesFilesThatEndTheProcess(String damage, @TempDir Path folder) throws IOException {
        String nested = "[".repeat(200) + "]".repeat(200);
        String row = "{\"type\": \"ByteLevel\", \"add_prefix_space\": false, \"trim_offsets\": true},".repeat(30);
        String value = damage.startsWith("\"decoder") ? nested : row.substring(0, row.length() - 1);
        Files.writeString(
                folder.resolve("tokenizer.json"),
                "{%s, \"model\": {\"type\": \"BPE\", \"vocab\": {\"a\": 0}, \"merges\": []}}"
                        .formatted(damage.formatted(value)));

        assertThatThrownBy(() ->
                        Tokenizer.open(folder.toString(), new Configuration()).encode("\u00e4"))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("copy it again from the model");
    }

    @Test
    void refusesAFileWhoseUnknownTokenIsUnknown(@TempDir Path folder) throws IOException {
        Files.writeString(folder.resolve("tokenizer.json"), """
                {"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [], "unk_token": "[UNK]"}}""");
        Tokenizer tokenizer = Tokenizer.open(folder.toString(), new Configuration());

        assertThatThrownBy(() -> tokenizer.encode("b"))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("tokenizer.json can't make tokens of a text: Unk token `[UNK]` not found");
    }

    /** The library would end the process at these, too. */
    @ParameterizedTest
    @ValueSource(strings = {"[[\"a\", \"b\"]]", "[\"a b\"]", "[[\"a\", \"\u20ac\"]]"})
    void refusesMergesThatAreShorterThanTheirPrefix(String merges, @TempDir Path folder) throws IOException {
        Files.writeString(folder.resolve("tokenizer.json"), """
                {"model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "\u20ac": 2, "ab": 3}, "merges": %s,
                           "continuing_subword_prefix": "##"}}""".formatted(merges));

        assertThatThrownBy(() -> Tokenizer.open(folder.toString(), new Configuration()))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("does not begin with its continuing_subword_prefix \"##\"");
    }
}
