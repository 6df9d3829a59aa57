package ulysses.driver;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ConcurrentHashMap;
import java.util.zip.GZIPInputStream;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.tokenizer.Tokenizer;

/** Numbers recorded from LLaMA-Factory 0.9.5 and transformers 5.6.0, gzipped under {@code src/test/resources/reference}. */
public final class ReferenceFiles {
    /** small-bpe-llama3 with the markers of templates/more-templates. */
    private static final String MARKERS = "small-bpe-markers";

    private static final ObjectMapper JSON = new ObjectMapper();
    private static final Map<String, Tokenizer> TOKENIZERS = new ConcurrentHashMap<>();

    private ReferenceFiles() {}

    /** The lines of a gzipped jsonl file, for example {@code templates/qwen}. */
    public static List<JsonNode> lines(String name) {
        try (BufferedReader reader = new BufferedReader(
                new InputStreamReader(new GZIPInputStream(open(name + ".jsonl.gz")), StandardCharsets.UTF_8))) {
            return reader.lines().map(ReferenceFiles::parse).toList();
        } catch (IOException failure) {
            throw new UncheckedIOException(name, failure);
        }
    }

    private static JsonNode parse(String line) {
        try {
            return JSON.readTree(line);
        } catch (IOException failure) {
            throw new UncheckedIOException(line, failure);
        }
    }

    /** One of small-bpe-qwen, small-bpe-llama3, small-bpe-markers, qwen3. */
    public static Tokenizer tokenizer(String name) {
        return TOKENIZERS.computeIfAbsent(
                name, absent -> Tokenizer.open(unpack(absent).toString(), new Configuration()));
    }

    /** Writes a tokenizer folder. */
    public static Path unpack(String name) {
        return name.equals(MARKERS) ? withMarkers(unpack("small-bpe-llama3")) : unpackRecorded(name);
    }

    /** The markers of all templates as special tokens behind those of the file, in the recorded order. */
    private static Path withMarkers(Path folder) {
        Path file = folder.resolve("tokenizer.json");
        try (InputStream markers = open("templates/markers.json")) {
            ObjectNode json = (ObjectNode) JSON.readTree(file.toFile());
            ArrayNode added = json.withArray("added_tokens");
            int id = added.get(added.size() - 1).path("id").intValue();
            for (JsonNode marker : JSON.readTree(markers)) {
                ObjectNode token = added.addObject().put("id", ++id).put("content", marker.textValue());
                token.put("single_word", false).put("lstrip", false).put("rstrip", false);
                token.put("normalized", false).put("special", true);
            }
            JSON.writeValue(file.toFile(), json);
            return folder;
        } catch (IOException failure) {
            throw new UncheckedIOException(MARKERS, failure);
        }
    }

    private static Path unpackRecorded(String name) {
        try {
            Path folder = Files.createTempDirectory("tokenizer-" + name);
            folder.toFile().deleteOnExit();
            String source = "tokenizers/" + name + "/";
            try (InputStream json = new GZIPInputStream(open(source + "tokenizer.json.gz"));
                    InputStream config = open(source + "tokenizer_config.json")) {
                Files.copy(json, folder.resolve("tokenizer.json"));
                Files.copy(config, folder.resolve("tokenizer_config.json"));
            }
            return folder;
        } catch (IOException failure) {
            throw new UncheckedIOException(name, failure);
        }
    }

    private static InputStream open(String name) {
        return Objects.requireNonNull(
                ReferenceFiles.class.getResourceAsStream("/reference/" + name), () -> "no resource " + name);
    }
}
