package ulysses.runtime.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.zip.CRC32C;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.WrittenFile;

/**
 * What a checkpoint consists of; a checkpoint is complete when its manifest is there. As JSON it ends with its own checksum.
 *
 * @param attempt number of the attempt that wrote it
 * @param attemptFolder where its data lies, inside the checkpoint's folder
 * @param mesh the ranks that wrote it; ranks that read it may be arranged otherwise
 * @param files all files in the attempt's folder, named from the checkpoint's folder; tensors are found through their headers
 * @param state where the run stood
 */
public record CheckpointManifest(
        int attempt, String attemptFolder, RankMesh mesh, List<WrittenFile> files, TrainState state) {
    /** Name of the file. */
    public static final String FILE = "MANIFEST.json";

    /** What its {@code format} says. */
    public static final String FORMAT = "ulysses-checkpoint";

    private static final int VERSION = 2;
    private static final String SKIPPED = "skippedSteps";
    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
            .enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
            .build();

    public CheckpointManifest {
        files = List.copyOf(files);
    }

    /** Optimizer steps done. */
    public long step() {
        return state.step();
    }

    /** Where rank 0 put the trainer state. */
    public String trainerState() {
        return attemptFolder + "/" + CheckpointWriter.TRAINER_STATE;
    }

    /** As JSON, checksum included. */
    public String toJson() {
        ObjectNode root = JSON.createObjectNode();
        root.put("format", FORMAT);
        root.put("version", VERSION);
        ObjectNode content = JSON.valueToTree(this);
        root.setAll(content);
        root.put("crc32c", checksum(content));
        return root.toPrettyString() + "\n";
    }

    /** Reads the manifest at {@code path}: another format, a newer version and damage are told apart. */
    public static CheckpointManifest parse(String json, String path) {
        try {
            JsonNode root = JSON.readTree(json);
            if (!(root instanceof ObjectNode object)) {
                throw damaged(path, "it is no JSON object", null);
            }
            if (!FORMAT.equals(object.path("format").asText())) {
                throw new StorageException(
                        "%s is no manifest of a checkpoint of this program; choose another checkpoint".formatted(path));
            }
            if (object.path("version").asInt() > VERSION) {
                throw new StorageException("%s has version %s but this program reads up to %d; use a newer program"
                        .formatted(path, object.path("version"), VERSION));
            }
            long expected = object.path("crc32c").asLong(-1);
            object.remove(List.of("format", "version", "crc32c"));
            if (checksum(object) != expected) {
                throw damaged(path, "its checksum does not match", null);
            }
            if (object.path("state") instanceof ObjectNode state && !state.has(SKIPPED)) {
                state.put(SKIPPED, 0); // version 1 did not count them
            }
            return JSON.treeToValue(object, CheckpointManifest.class);
        } catch (JsonProcessingException e) {
            throw damaged(path, e.getOriginalMessage(), e);
        }
    }

    private static StorageException damaged(String path, String reason, @Nullable Throwable cause) {
        return new DamagedCheckpointException(
                "%s is damaged: %s; use the checkpoint before it".formatted(path, reason), cause);
    }

    private static long checksum(JsonNode content) {
        CRC32C checksum = new CRC32C();
        checksum.update(content.toString().getBytes(StandardCharsets.UTF_8));
        return checksum.getValue();
    }
}
