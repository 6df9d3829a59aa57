package ulysses.job;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;

/** What a run of ours or of LLaMA-Factory wrote into its {@code output_dir}. */
record Results(Path folder) {
    private static final ObjectMapper JSON = new ObjectMapper();

    /** A JSON file. */
    JsonNode json(String name) {
        return parse(text(name));
    }

    /** The lines of a JSON lines file. */
    List<JsonNode> lines(String name) {
        return text(name).lines().map(Results::parse).toList();
    }

    /** The entries of {@code trainer_state.json} that belong to optimizer steps. */
    List<JsonNode> steps() {
        List<JsonNode> steps = new ArrayList<>();
        for (JsonNode entry : json("trainer_state.json").path("log_history")) {
            if (entry.has("loss")) {
                steps.add(entry);
            }
        }
        return steps;
    }

    /** The loss of each evaluation in {@code trainer_state.json}; the one at the end, where it is in {@code eval_results.json} alone, last. */
    double[] evaluations() {
        List<Double> losses = new ArrayList<>();
        for (JsonNode entry : json("trainer_state.json").path("log_history")) {
            if (entry.has("eval_loss")) {
                losses.add(entry.path("eval_loss").doubleValue());
            }
        }
        if (Files.exists(folder.resolve("eval_results.json"))) {
            losses.add(json("eval_results.json").path("eval_loss").doubleValue());
        }
        return losses.stream().mapToDouble(Double::doubleValue).toArray();
    }

    /** The last entry of {@code trainer_state.json}, which sums up the run. */
    JsonNode summary() {
        JsonNode history = json("trainer_state.json").path("log_history");
        return history.path(history.size() - 1);
    }

    /** One number of each step. */
    double[] series(String field) {
        return steps().stream()
                .mapToDouble(step -> step.path(field).doubleValue())
                .toArray();
    }

    Weights weights() {
        return Weights.of(folder);
    }

    static Set<String> keys(JsonNode object) {
        Set<String> keys = new TreeSet<>();
        object.fieldNames().forEachRemaining(keys::add);
        return keys;
    }

    private String text(String name) {
        try {
            return Files.readString(folder.resolve(name));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    private static JsonNode parse(String json) {
        try {
            return JSON.readTree(json);
        } catch (IOException e) {
            throw new UncheckedIOException(json, e);
        }
    }
}
