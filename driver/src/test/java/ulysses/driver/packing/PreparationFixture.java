package ulysses.driver.packing;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.zip.GZIPInputStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.SparkSession;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.PackedDataset;
import ulysses.runtime.data.PackedRow;

/** A folder with data sets, and configurations of runs on them. */
final class PreparationFixture {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Path folder;

    PreparationFixture(Path folder) {
        this.folder = folder;
    }

    static SparkSession session(String master) {
        return SparkSession.builder()
                .master(master)
                .appName("prepare")
                .config("spark.ui.enabled", "false")
                .config("spark.driver.host", "127.0.0.1")
                .config("spark.driver.bindAddress", "127.0.0.1")
                .getOrCreate();
    }

    /** The data sets of the recorded runs. */
    PreparationFixture withRecordedData() throws IOException {
        unpack("alpaca_en_demo.jsonl");
        unpack("identity.jsonl");
        unpack("c4_demo.jsonl");
        Files.writeString(folder.resolve("dataset_info.json"), """
                {"identity": {"file_name": "identity.jsonl"}, "alpaca_en_demo": {"file_name": "alpaca_en_demo.jsonl"},
                 "c4_demo": {"file_name": "c4_demo.jsonl", "columns": {"prompt": "text"}}}""");
        return this;
    }

    /** The demo sets as LLaMA-Factory ships them. */
    PreparationFixture withDemoData() throws IOException {
        unpack("alpaca_en_demo.json");
        unpack("identity.json");
        Files.writeString(folder.resolve("dataset_info.json"), """
                {"identity": {"file_name": "identity.json"}, "alpaca_en_demo": {"file_name": "alpaca_en_demo.json"}}""");
        return this;
    }

    /** A recorded case: its rows and its entry. */
    PreparationFixture withCase(JsonNode recorded) throws IOException {
        String file = recorded.path("dataset_entry").path("file_name").asText();
        if (file.endsWith(".json")) {
            Files.writeString(folder.resolve(file), recorded.path("rows").toString());
        } else {
            List<String> lines = new ArrayList<>();
            recorded.path("rows").forEach(row -> lines.add(row.isTextual() ? row.asText() : row.toString()));
            Files.writeString(folder.resolve(file), String.join("\n", lines) + "\n");
        }
        String info = JSON.createObjectNode()
                .set("mine", recorded.path("dataset_entry"))
                .toString();
        Files.writeString(folder.resolve("dataset_info.json"), info);
        return this;
    }

    /** One data set named mine, of JSON lines. */
    PreparationFixture withRows(Iterable<String> rows) throws IOException {
        Files.write(folder.resolve("mine.jsonl"), rows, StandardCharsets.UTF_8);
        Files.writeString(folder.resolve("dataset_info.json"), "{\"mine\": {\"file_name\": \"mine.jsonl\"}}");
        return this;
    }

    /** One ranking named mine, of JSON lines. */
    PreparationFixture withPairs(Iterable<String> rows) throws IOException {
        Files.write(folder.resolve("mine.jsonl"), rows, StandardCharsets.UTF_8);
        Files.writeString(folder.resolve("dataset_info.json"), """
                {"mine": {"file_name": "mine.jsonl", "ranking": true, "columns": {"prompt": "instruction",
                 "query": "input", "chosen": "chosen", "rejected": "rejected"}}}
                """);
        return this;
    }

    Path folder() {
        return folder;
    }

    /** A run on these data sets; keys as on the command line. */
    TrainingConfig config(Map<String, String> keys) throws IOException {
        Path yaml = Files.writeString(folder.resolve("run.yaml"), """
                stage: sft
                finetuning_type: full
                model_name_or_path: model
                template: qwen
                do_train: true
                """);
        Map<String, String> all = new LinkedHashMap<>();
        all.put("dataset_dir", folder.toString());
        all.put("output_dir", folder.resolve("out").toString());
        all.putAll(keys);
        ConfigFile.Sources sources = ConfigFile.Sources.ofFile(yaml.toString());
        for (Map.Entry<String, String> key : all.entrySet()) {
            sources = sources.with(key.getKey(), key.getValue());
        }
        return ConfigFile.load(sources, new Configuration()).config();
    }

    /** All rows of a prepared folder, in file order. */
    static List<PackedRow> rows(String prepared) throws IOException {
        Path scratch = Files.createTempDirectory("scratch");
        try (PackedDataset dataset = PackedDataset.open(prepared, scratch, new Configuration())) {
            List<PackedRow> rows = new ArrayList<>();
            for (long row = 0; row < dataset.rows(); row++) {
                rows.add(dataset.row(row));
            }
            return rows;
        }
    }

    /** SHA-256 over all ids as little-endian int32, as data.json of the recorded runs has it. */
    static String idsDigest(List<PackedRow> rows) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            for (PackedRow row : rows) {
                ByteBuffer bytes =
                        ByteBuffer.allocate(row.length() * Integer.BYTES).order(ByteOrder.LITTLE_ENDIAN);
                bytes.asIntBuffer().put(row.ids());
                digest.update(bytes);
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    static JsonNode json(Path file) {
        try {
            return JSON.readTree(file.toFile());
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private void unpack(String name) throws IOException {
        try (InputStream in = new GZIPInputStream(
                Objects.requireNonNull(PreparationFixture.class.getResourceAsStream(name + ".gz"), name))) {
            Files.copy(in, folder.resolve(name));
        }
    }
}
