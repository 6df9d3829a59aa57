package ulysses.driver.fuzz;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.ReferenceFiles;
import ulysses.driver.dataset.DatasetRegistry;
import ulysses.driver.dataset.ReadFile;
import ulysses.driver.packing.EncodingRules;
import ulysses.driver.packing.ExampleEncoder;
import ulysses.driver.packing.PrepareReport;
import ulysses.driver.tokenizer.ChatEncoder;
import ulysses.runtime.config.TuningConfig;
import ulysses.runtime.data.DataException;

/** Readers of data sets: dataset_info.json, and files down to token ids. */
final class DatasetReaders {
    private static final Configuration LOCAL = new Configuration(false);
    private static final String INFO = """
            {"lines": {"file_name": "rows.jsonl"},
             "array": {"file_name": "rows.json", "formatting": "sharegpt", "split": "train[:50%]", "num_samples": 10,
              "columns": {"messages": "conversations", "system": "system", "tools": "tools"},
              "tags": {"role_tag": "from", "content_tag": "value", "user_tag": "human", "assistant_tag": "gpt"}},
             "calls": {"file_name": "calls.jsonl", "formatting": "openai",
              "columns": {"messages": "messages", "tools": "tools"},
              "tags": {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant",
               "observation_tag": "tool", "function_tag": "function", "system_tag": "system"}},
             "pairs": {"file_name": "pairs.json", "ranking": true,
              "columns": {"prompt": "instruction", "query": "input", "chosen": "chosen", "rejected": "rejected"}},
             "table": {"file_name": "rows.csv"}, "column": {"file_name": "rows.arrow", "columns": {"prompt": "text"}},
             "text": {"file_name": "rows.txt", "columns": {"prompt": "text"}}}""";
    private static final String LINES = """
            {"instruction": "Add", "input": "1 and 2", "output": "3", "history": [["a", "b"]], "system": "Be brief"}
            {"instruction": "Say hello", "input": "", "output": "Hello \\u00e4 \\ud83d\\ude00"}

            {"instruction": "Count", "input": null, "output": "1 2 3", "score": 1.5e3}
            """;
    private static final String CONVERSATIONS = """
            [{"conversations": [{"from": "system", "value": "Be kind"}, {"from": "human", "value": "Hi"},
              {"from": "gpt", "value": "Hello"}, {"from": "human", "value": "What is the weather?"},
              {"from": "function_call", "value": "{\\"name\\": \\"weather\\", \\"arguments\\": {\\"city\\": \\"Ulm\\"}}"},
              {"from": "observation", "value": "{\\"rain\\": true}"}, {"from": "gpt", "value": "Rain"}],
              "system": "", "tools": "[{\\"name\\": \\"weather\\", \\"description\\": \\"Weather\\", \\"parameters\\": {\\"type\\": \\"object\\", \\"properties\\": {\\"city\\": {\\"type\\": \\"string\\", \\"description\\": \\"Where\\", \\"enum\\": [\\"Ulm\\"]}}, \\"required\\": [\\"city\\"]}}]"},
             {"conversations": [{"from": "human", "value": "Bye"}, {"from": "gpt", "value": "<think>\\nso\\n</think>\\n\\nBye"}]}]""";
    private static final String CALLS = """
            {"messages": [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Weather?"}, {"role": "assistant", "content": "", "tool_calls": [{"type": "function", "function": {"name": "weather", "arguments": {"city": "Ulm", "days": 2}}}]}, {"role": "tool", "content": "rain"}, {"role": "assistant", "content": "Rain"}], "tools": [{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties": {}}}}]}
            """;
    private static final String PAIRS = """
            [{"instruction": "Add", "input": "1 and 2", "chosen": "3", "rejected": "4"},
             {"instruction": "Say", "input": "", "chosen": "yes", "rejected": "no"}]""";
    private static final String TABLE = """
            instruction,input,output
            Add,"1, and ""2\""",3
            "two
            lines",,x
            # no comment,a,b
            """;

    private final Path folder;
    private final ExampleEncoder texts;
    private final ExampleEncoder conversations;
    private final ExampleEncoder pairs;

    private DatasetReaders(Path folder) {
        this.folder = folder;
        this.texts = encoder(TuningConfig.Stage.PT, "empty");
        this.conversations = encoder(TuningConfig.Stage.SFT, "qwen");
        this.pairs = encoder(TuningConfig.Stage.DPO, "qwen");
    }

    private static ExampleEncoder encoder(TuningConfig.Stage stage, String template) {
        EncodingRules rules =
                new EncodingRules(stage, template, null, 128, true, false, false, false, ChatEncoder.Options.DEFAULT);
        return new ExampleEncoder(rules, ReferenceFiles.tokenizer("small-bpe-qwen"));
    }

    /** All of them, with valid files in {@code folder}. */
    static List<FuzzedReader> in(Path folder) throws IOException {
        DatasetReaders readers = new DatasetReaders(Files.createDirectories(folder.resolve("data")));
        Path info = readers.write("dataset_info.json", INFO);
        ReadFile.writeArrow(readers.folder.resolve("rows.arrow"), "text", List.of("Hello", "", "Rain in Ulm"));
        return List.of(
                FuzzedReader.text("dataset_info.json", info, readers::entries),
                readers.file("lines", "rows.jsonl", LINES, readers.conversations),
                readers.file("array", "rows.json", CONVERSATIONS, readers.conversations),
                readers.file("calls", "calls.jsonl", CALLS, readers.conversations),
                readers.file("pairs", "pairs.json", PAIRS, readers.pairs),
                readers.file("table", "rows.csv", TABLE, readers.conversations),
                readers.file("text", "rows.txt", "Hello\n\nRain in Ulm\r\n", readers.texts),
                FuzzedReader.binary(
                        "rows.arrow",
                        readers.folder.resolve("rows.arrow"),
                        () -> readers.examples("column", readers.texts)),
                readers.report());
    }

    private Path write(String name, String text) throws IOException {
        return Files.writeString(folder.resolve(name), text);
    }

    private FuzzedReader file(String entry, String name, String text, ExampleEncoder encoder) throws IOException {
        return FuzzedReader.text(name, write(name, text), () -> examples(entry, encoder));
    }

    private void entries() {
        DatasetRegistry registry = DatasetRegistry.open(folder.toString(), LOCAL);
        registry.names().forEach(registry::entry);
    }

    private void examples(String entry, ExampleEncoder encoder) throws IOException {
        DatasetRegistry registry = DatasetRegistry.open(folder.toString(), LOCAL);
        ReadFile.examples(registry.entry(entry), LOCAL, encoder::encode);
    }

    /** One that can't be read is no failure: rows are prepared again. */
    private FuzzedReader report() throws IOException {
        Path report = write("prepare_report.json", """
                {"version": 2, "dataFingerprint": "a", "tokenizerFingerprint": "b", "eval": {}, "train":
                 {"packing": "NONE", "cutoffLength": 16, "rowsRead": 2, "rowsKept": 1, "dropped": {"no answer": {"count": 1,
                  "first": [{"number": 0, "dataset": "a", "row": 0}]}}, "truncated": {"count": 0, "first": []},
                  "truncatedTokens": 0, "leftOutTokens": 0, "documents": 1, "tokens": 9, "trainedTokens": 3, "packedRows": 1,
                  "fill": 0.5, "packedRowsOtherwise": {"BEST_FIT": 1}}}""");
        return FuzzedReader.text("prepare report", report, () -> {
            if (PrepareReport.parse(Files.readString(report).getBytes(StandardCharsets.UTF_8))
                    .isEmpty()) {
                throw new DataException("the report can't be read");
            }
        });
    }
}
