package ulysses.driver.report;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.time.Instant;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.UUID;
import java.util.stream.Stream;
import ulysses.driver.launch.FailureKind;
import ulysses.driver.launch.LaunchException;

/**
 * Runs in a local folder as MLflow's file store keeps them: {@code EXPERIMENT/RUN/meta.yaml}, and a file for each parameter, metric
 * and tag, which {@code mlflow ui --backend-store-uri FOLDER} shows.
 */
final class MlflowFolder implements MlflowTracking {
    private static final YAMLMapper YAML = new YAMLMapper();
    private static final String META = "meta.yaml";
    private static final long EXPERIMENT_IDS = 1_000_000_000_000_000_000L; // 18 digits, as MLflow draws them
    private static final int LOCAL_SOURCE = 4;

    /** Codes of {@code RunStatus}. */
    private static final Map<String, Integer> STATUS = Map.of("RUNNING", 1, "FINISHED", 3, "FAILED", 4);

    private final Path root;
    private final String experiment;
    private final Map<String, Path> runs = new HashMap<>();

    /** In {@code root}, which need not exist. */
    MlflowFolder(Path root, String experiment) {
        this.root = root;
        this.experiment = experiment;
    }

    private interface Work<T> {
        T done() throws IOException;
    }

    private <T> T told(Work<T> work) {
        try {
            return work.done();
        } catch (IOException e) {
            throw new LaunchException(
                    FailureKind.INFRASTRUCTURE,
                    "MLflow's folder %s can't be used: %s; see who may write to it, or leave mlflow out of report_to"
                            .formatted(root, e),
                    e);
        }
    }

    @Override
    public synchronized String experimentId() {
        return told(() -> {
            Files.createDirectories(root);
            for (Path folder : children(root)) {
                JsonNode meta = Files.exists(folder.resolve(META)) ? meta(folder) : JsonNodeFactory.instance.nullNode();
                if (meta.path("name").asText().equals(experiment)
                        && meta.path("lifecycle_stage").asText().equals("active")) {
                    return folder.getFileName().toString();
                }
            }
            String id = experiment.equals("Default")
                    ? "0"
                    : String.valueOf(Math.floorMod(UUID.randomUUID().getMostSignificantBits(), EXPERIMENT_IDS));
            long now = Instant.now().toEpochMilli();
            ObjectNode meta = JsonNodeFactory.instance.objectNode();
            meta.put("artifact_location", root.resolve(id).toUri().toString());
            meta.put("creation_time", now).put("experiment_id", id).put("last_update_time", now);
            meta.put("lifecycle_stage", "active").put("name", experiment);
            write(root.resolve(id), meta);
            return id;
        });
    }

    private static List<Path> children(Path folder) throws IOException {
        try (Stream<Path> all = Files.list(folder)) {
            return all.filter(Files::isDirectory).sorted().toList();
        }
    }

    private static JsonNode meta(Path folder) throws IOException {
        return YAML.readTree(Files.readString(folder.resolve(META)));
    }

    private static void write(Path folder, ObjectNode meta) throws IOException {
        Files.createDirectories(folder);
        Files.writeString(folder.resolve(META), YAML.writeValueAsString(meta));
    }

    @Override
    public synchronized JsonNode post(String endpoint, ObjectNode body) {
        return told(() -> switch (endpoint) {
            case "runs/create" -> create(body);
            case "runs/log-batch" -> log(run(body), body);
            case "runs/update" -> update(run(body), body);
            default -> throw new IllegalArgumentException("the file store has no " + endpoint);
        });
    }

    private JsonNode create(ObjectNode body) throws IOException {
        String experimentId = body.path("experiment_id").asText();
        String id = UUID.randomUUID().toString().replace("-", "");
        Path folder = root.resolve(experimentId).resolve(id);
        ObjectNode meta = JsonNodeFactory.instance.objectNode();
        meta.put("artifact_uri", folder.resolve("artifacts").toUri().toString());
        meta.putNull("deleted_time").putNull("end_time");
        meta.put("entry_point_name", "").put("experiment_id", experimentId).put("lifecycle_stage", "active");
        meta.put("run_id", id).put("run_name", body.path("run_name").asText()).put("run_uuid", id);
        meta.put("source_name", "").put("source_type", LOCAL_SOURCE).put("source_version", "");
        meta.put("start_time", body.path("start_time").asLong()).put("status", STATUS.get("RUNNING"));
        meta.putArray("tags");
        meta.put("user_id", System.getProperty("user.name", "unknown"));
        write(folder, meta);
        for (String kind : List.of("artifacts", "metrics", "params", "tags")) {
            Files.createDirectories(folder.resolve(kind));
        }
        for (JsonNode tag : body.path("tags")) {
            Files.writeString(file(folder, "tags", tag), tag.path("value").asText());
        }
        runs.put(id, folder);
        ObjectNode answer = JsonNodeFactory.instance.objectNode();
        answer.putObject("run").putObject("info").put("run_id", id);
        return answer;
    }

    private Path run(ObjectNode body) throws IOException {
        String id = body.path("run_id").asText();
        Path folder = runs.get(id);
        if (folder == null) {
            throw new IOException("no run " + id);
        }
        return folder;
    }

    private static JsonNode log(Path folder, ObjectNode body) throws IOException {
        for (JsonNode parameter : body.path("params")) {
            Files.writeString(
                    file(folder, "params", parameter), parameter.path("value").asText());
        }
        for (JsonNode metric : body.path("metrics")) {
            String line = "%d %s %d\n"
                    .formatted(
                            metric.path("timestamp").asLong(),
                            metric.path("value").asDouble(),
                            metric.path("step").asLong());
            Files.writeString(
                    file(folder, "metrics", metric), line, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
        }
        return JsonNodeFactory.instance.objectNode();
    }

    /** A name with slashes, such as rewards/margins, lies in folders. */
    private static Path file(Path folder, String kind, JsonNode named) throws IOException {
        Path all = folder.resolve(kind);
        Path file = all.resolve(named.path("key").asText()).normalize();
        if (!file.startsWith(all) || file.equals(all)) {
            throw new IOException("%s is no name of a file".formatted(named.path("key")));
        }
        Files.createDirectories(Objects.requireNonNull(file.getParent(), "it lies in the folder"));
        return file;
    }

    private static JsonNode update(Path folder, ObjectNode body) throws IOException {
        ObjectNode meta = (ObjectNode) meta(folder);
        meta.put("status", STATUS.get(body.path("status").asText()));
        meta.put("end_time", body.path("end_time").asLong());
        write(folder, meta);
        return JsonNodeFactory.instance.objectNode();
    }

    @Override
    public String toString() {
        return root.toString();
    }
}
