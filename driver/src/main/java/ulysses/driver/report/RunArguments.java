package ulysses.driver.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import ulysses.driver.packing.PreparedData;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.EvaluationSet;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.Folder;

/**
 * What a run was told: the content of {@code training_args.json} in {@code output_dir}, which stands in for transformers' pickled
 * {@code training_args.bin}. Secrets are masked.
 *
 * @param started when, ISO 8601
 * @param mesh the ranks
 * @param trainRows folder of the training rows
 * @param evalRows rows that are evaluated on, in order
 * @param given the keys that the user gave and what became of each
 * @param notes what the user was told about them
 * @param config the whole configuration, in our names
 */
public record RunArguments(
        String started,
        RankMesh mesh,
        String trainRows,
        List<EvaluationSet> evalRows,
        List<ConfigFile.KeyReport> given,
        List<String> notes,
        JsonNode config) {
    /** Its file. */
    public static final String FILE = "training_args.json";

    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(SerializationFeature.INDENT_OUTPUT)
            .disable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
            .build();

    /** Name and password in a URI: s3a://key:secret@bucket. */
    private static final Pattern CREDENTIALS = Pattern.compile("(\\w://)[^/@\\s]+@");

    public RunArguments {
        evalRows = List.copyOf(evalRows);
        given = List.copyOf(given);
        notes = List.copyOf(notes);
    }

    /** The arguments of a run that begins. */
    public static RunArguments of(String started, RankMesh mesh, PreparedData data, ConfigFile.Loaded loaded) {
        try {
            return new RunArguments(
                    started,
                    mesh,
                    data.trainPath(),
                    data.evalSets(),
                    loaded.keys(),
                    loaded.notes(),
                    JSON.readTree(loaded.config().toJson()));
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a configuration is no JSON", e);
        }
    }

    /** What {@code output} holds; empty if it can't be read, because it is of another program or damaged. */
    static Optional<RunArguments> read(Folder output) {
        try {
            return output.has(FILE)
                    ? Optional.of(JSON.readValue(output.readText(FILE), RunArguments.class))
                    : Optional.empty();
        } catch (JsonProcessingException | IllegalArgumentException | NullPointerException e) {
            return Optional.empty();
        }
    }

    /** Writes them into {@code output}. */
    public void write(Folder output) {
        try {
            String json = JSON.writeValueAsString(masked(JSON.valueToTree(this))) + "\n";
            output.write(FILE, json.getBytes(StandardCharsets.UTF_8));
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a record of texts can't be written as JSON", e);
        }
    }

    /** The same with names and passwords in addresses left out. */
    static JsonNode masked(JsonNode node) {
        if (node instanceof ObjectNode object) {
            object.properties().forEach(field -> field.setValue(masked(field.getValue())));
        } else if (node instanceof ArrayNode array) {
            for (int i = 0; i < array.size(); i++) {
                array.set(i, masked(array.get(i)));
            }
        }
        return node instanceof TextNode text ? TextNode.valueOf(masked(text.textValue())) : node;
    }

    static String masked(String text) {
        return CREDENTIALS.matcher(text).replaceAll("$1***@");
    }

    /** The whole configuration; empty if a release wrote it that had other keys. */
    Optional<TrainingConfig> trainingConfig() {
        try {
            return Optional.of(TrainingConfig.fromJson(config.toString()));
        } catch (IllegalArgumentException e) {
            return Optional.empty();
        }
    }
}
