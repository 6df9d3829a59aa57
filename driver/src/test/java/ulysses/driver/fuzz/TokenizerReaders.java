package ulysses.driver.fuzz;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.BooleanNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.LocalDate;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.ReferenceFiles;
import ulysses.driver.dataset.Example.Message;
import ulysses.driver.dataset.Example.Role;
import ulysses.driver.jinja.JinjaTemplate;
import ulysses.driver.tokenizer.ChatEncoder;
import ulysses.driver.tokenizer.ChatTemplates;
import ulysses.driver.tokenizer.Tokenizer;

/** Readers of what comes with a model to make token ids: tokenizer.json, tokenizer_config.json, chat templates; and the user's own. */
final class TokenizerReaders {
    private static final Configuration LOCAL = new Configuration(false);
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final LocalDate TODAY = LocalDate.of(2026, 1, 1);

    private static final String TOKENIZER = """
            {"version": "1.0", "truncation": null, "padding": null,
             "added_tokens": [
              {"id": 24, "content": "<|end|>", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, "special": true},
              {"id": 25, "content": "<|start|>", "single_word": false, "lstrip": false, "rstrip": true, "normalized": false, "special": false}],
             "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"String": "!!"}, "content": "!"}]},
             "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
              {"type": "Split", "pattern": {"Regex": "\\\\s+|[a-z]+|[^\\\\s]"}, "behavior": "Isolated", "invert": false},
              {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": false}]},
             "post_processor": {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<|end|>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
              "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
              "special_tokens": {"<|end|>": {"id": "<|end|>", "ids": [24], "tokens": ["<|end|>"]}}},
             "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
             "model": {"type": "BPE", "dropout": null, "unk_token": null, "continuing_subword_prefix": null, "end_of_word_suffix": null,
              "fuse_unk": false, "byte_fallback": false, "ignore_merges": false,
              "vocab": {"a": 0, "b": 1, "c": 2, "d": 3, "e": 4, "h": 5, "i": 6, "l": 7, "m": 8, "n": 9, "o": 10, "r": 11, "s": 12, "t": 13,
               "u": 14, "w": 15, "y": 16, ".": 17, "\\u0120": 18, "!": 19, "th": 20, "the": 21, "he": 22, "lo": 23},
              "merges": [["t", "h"], ["th", "e"], ["h", "e"], ["l", "o"]]}}""";

    private static final String CONFIG = """
            {"bos_token": null, "eos_token": "<|end|>", "pad_token": {"content": "<|end|>", "special": true}, "add_bos_token": false,
             "additional_special_tokens": ["<|start|>"], "model_max_length": 1000, "tokenizer_class": "PreTrainedTokenizerFast",
             "chat_template": "{% for m in messages %}{{ '<|start|>' + m.role + ' ' + m['content'] + eos_token }}{% endfor %}{% if add_generation_prompt %}{{ '<|start|>assistant ' }}{% endif %}"}""";

    private static final String TEMPLATES = """
            mine:
              like: qwen
              default_system: "Be kind"
              stop_words: ["<|im_end|>"]
            own:
              prefix: ["a"]
              system: ["<|im_start|>system {{content}}<|im_end|>"]
              user: ["<|im_start|>user {{content}}<|im_end|>", {"token": "<|im_end|>"}]
              assistant: ["{{content}}<|im_end|>"]
              thinking: true
              thought_words: ["<think>", "</think>"]
              replace_eos: true
              stop_words: ["<|im_end|>", "<|endoftext|>"]
              tool_format: qwen
              empty_thought_closes_only: true
            """;

    /** Pieces of templates that grow, loop, recurse, or are wrong. */
    private static final List<String> JINJA = List.of(
            "{% for i in range(99999) %}",
            "{% for i in range(100) %}{% for j in range(99999) %}",
            "{% endfor %}",
            "{% endif %}",
            "{% set ns = namespace(x='ab', l=[1]) %}",
            "{% set ns.x = ns.x ~ ns.x %}",
            "{% set ns.x = ns.x + ns.x %}",
            "{% set ns.l = [ns.l, ns.l] %}",
            "{% set ns.l = ns.l + ns.l %}",
            "{% set ns.self = ns %}{{ ns }}",
            "{% set ns.x = ns.x|replace('a', ns.x) %}",
            "{% for i in range(40) %}{% set ns.x = ns.x ~ ns.x %}{% set ns.l = [ns.l, ns.l] %}{% endfor %}{{ ns.l|tojson }}",
            "{{ messages|tojson(indent=99999999) }}",
            "{{ messages|map('upper')|join('x' * 999999) }}",
            "{% macro f(x) %}{{ f(x) }}{{ caller() }}{% endmacro %}{{ f(1) }}",
            "{% call f(1) %}y{% endcall %}",
            "{{ 'x' * 9999999999 }}",
            "{{ 99999999999 * 99999999999 }}",
            "{{ 2 ** 9999 // 0 }}",
            "{{ 'x'|indent(2000000000) }}",
            "{{ 'x'.zfill(2000000000) }}",
            "{{ '{9999999999}{a}{0x}'.format(1) }}",
            "{{ messages|batch(0)|list }}",
            "{{ undefined|sort|max }}",
            "{{ messages|selectattr('9999999999999999999999') }}",
            "{{ '\\uZZZZ\\UFFFFFFFF' }}",
            "{{ messages[0].content[::-1][:1:0] }}",
            "{{ {[1]: 2}[[1]] }}",
            "{{ loop.cycle() }}",
            "{{ (((((((((((((((((((( }}",
            "{{ " + "(".repeat(5000),
            "{{ " + "not ".repeat(5000) + "1 }}",
            "{{ '" + "x".repeat(20_000) + "' }}",
            "{% if x %}" + "{% elif y %}".repeat(3000) + "{% endif %}",
            "{{ " + "1 + ".repeat(5000) + "1 }}",
            "{{ " + "9".repeat(6000) + " }}",
            "{{ strftime_now('%Q %') }}",
            "{{ raise_exception(messages) }}",
            "{{ range(-9223372036854775807, 9223372036854775807, 3) }}",
            "{{ messages|sort(attribute='content')|unique|list }}",
            "{{ messages|string|wordcount }}",
            "{% set x %}{{ x }}{% endset %}",
            "{% raw %}",
            "{% generation %}",
            "{#",
            "is divisibleby(0)",
            "|tojson|tojson",
            "[-1:]",
            ".items()",
            "|replace('', 'xx')",
            "{{ messages|dictsort }}",
            "**",
            "~");

    private final Path folder;

    private TokenizerReaders(Path folder) {
        this.folder = folder;
    }

    /** All of them, with valid files in {@code folder}. */
    static List<FuzzedReader> in(Path folder) throws IOException {
        TokenizerReaders readers = new TokenizerReaders(Files.createDirectories(folder.resolve("tokenizer")));
        List<FuzzedReader> all = new ArrayList<>(readers.templates());
        all.add(readers.config());
        all.add(readers.templateFile());
        all.add(readers.tokenizer());
        return all;
    }

    private FuzzedReader tokenizer() throws IOException {
        Path own = Files.createDirectories(folder.resolve("own"));
        Files.writeString(own.resolve("tokenizer_config.json"), "{\"eos_token\": \"<|end|>\"}");
        Path file = Files.writeString(own.resolve("tokenizer.json"), TOKENIZER);
        return FuzzedReader.text("tokenizer.json", file, () -> {
            Tokenizer opened = Tokenizer.open(own.toString(), LOCAL);
            for (Tokenizer each : List.of(opened, opened.spellingOutSpecialTokens())) {
                each.decode(each.encode("the <|end|>hello!! world. \u00e4<|start|> one"));
            }
            opened.largestId();
        });
    }

    private FuzzedReader config() throws IOException {
        Path named = Files.createDirectories(folder.resolve("named"));
        Files.writeString(named.resolve("tokenizer.json"), TOKENIZER);
        Path file = Files.writeString(named.resolve("tokenizer_config.json"), CONFIG);
        List<Message> messages = List.of(new Message(Role.USER, "hello"), new Message(Role.ASSISTANT, "the world"));
        return FuzzedReader.text("tokenizer_config.json", file, () -> {
            Tokenizer tokenizer = Tokenizer.open(named.toString(), LOCAL);
            ChatEncoder.of(null, null, tokenizer, ChatEncoder.Options.DEFAULT, LOCAL);
            ChatEncoder.of(ChatEncoder.JINJA, null, tokenizer, ChatEncoder.Options.DEFAULT, LOCAL)
                    .turns(messages, "", "", ChatEncoder.EarlierThoughts.KEPT);
        });
    }

    private FuzzedReader templateFile() throws IOException {
        Path file = Files.writeString(folder.resolve("templates.yaml"), TEMPLATES);
        Tokenizer tokenizer = ReferenceFiles.tokenizer("small-bpe-qwen");
        List<Message> messages = List.of(new Message(Role.USER, "hello"), new Message(Role.ASSISTANT, "the world"));
        return FuzzedReader.text("template_file", file, () -> {
            ChatTemplates.of(file.toString(), LOCAL);
            ChatEncoder.of("own", file.toString(), tokenizer, ChatEncoder.Options.DEFAULT, LOCAL)
                    .turns(messages, "Be kind", "", ChatEncoder.EarlierThoughts.KEPT);
        });
    }

    /** Real chat templates, run on a recorded conversation. */
    private List<FuzzedReader> templates() throws IOException {
        List<FuzzedReader> readers = new ArrayList<>();
        for (JsonNode recorded : ReferenceFiles.lines("jinja/chat-templates")) {
            String name = recorded.get("name").textValue();
            if (List.of("qwen3", "llama3_1", "gptoss", "glm4moe").contains(name)) {
                Path file = Files.writeString(
                        folder.resolve(name + ".jinja"),
                        recorded.get("template").textValue());
                readers.add(new FuzzedReader("Jinja " + name, file, JINJA, () -> render(Files.readString(file))));
            }
        }
        return readers;
    }

    private static void render(String source) throws JsonProcessingException {
        JsonNode messages = JSON.readTree("""
                [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Weather in Ulm?"},
                 {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "id": "a12345678", "function":
                  {"name": "weather", "arguments": {"city": "Ulm", "days": 2, "exact": [1.5, null, true]}}}]},
                 {"role": "tool", "content": "rain"}, {"role": "assistant", "content": "<think>\\nso\\n</think>\\n\\nRain."},
                 {"role": "user", "content": "Thanks"}]""");
        JsonNode tools = JSON.readTree("""
                [{"type": "function", "function": {"name": "weather", "description": "Weather", "parameters":
                 {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}]""");
        JinjaTemplate.parse(source)
                .render(
                        Map.of(
                                "messages",
                                messages,
                                "tools",
                                tools,
                                "add_generation_prompt",
                                BooleanNode.TRUE,
                                "bos_token",
                                TextNode.valueOf("<s>"),
                                "eos_token",
                                TextNode.valueOf("</s>")),
                        TODAY);
    }
}
