package ulysses.runtime.config;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.List;

/** {@link TrainingConfig} as JSON, and the fingerprint over a part of it. */
final class ConfigJson {
    private static final JsonMapper JSON = JsonMapper.builder()
            .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
            .enable(DeserializationFeature.FAIL_ON_MISSING_CREATOR_PROPERTIES)
            .build();

    /** Changes with the meaning of the fingerprint. */
    private static final int FINGERPRINT_VERSION = 1;

    /** Parts of Data that say where or how fast, not what. */
    private static final List<String> NOT_CONTENT =
            List.of("workers", "overwriteCache", "tokenizedPath", "preparedDirectory");

    private ConfigJson() {}

    static String write(TrainingConfig config) {
        try {
            return JSON.writeValueAsString(config);
        } catch (JsonProcessingException impossible) {
            throw new IllegalStateException("a configuration could not be written as JSON", impossible);
        }
    }

    static TrainingConfig read(String json) {
        try {
            return JSON.readValue(json, TrainingConfig.class);
        } catch (JsonProcessingException malformed) {
            throw new IllegalArgumentException(
                    "not the JSON of a configuration: " + malformed.getOriginalMessage(), malformed);
        }
    }

    static String dataFingerprint(TrainingConfig config) {
        ObjectNode content = JSON.createObjectNode();
        content.put("version", FINGERPRINT_VERSION);
        content.set("data", JSON.<ObjectNode>valueToTree(config.data()).remove(NOT_CONTENT));
        content.put("stage", config.tuning().stage().name());
        content.put("validationSize", config.evaluation().validationSize());
        content.put("seed", config.step().seed());
        try {
            byte[] digest = MessageDigest.getInstance("SHA-256")
                    .digest(JSON.writeValueAsString(content).getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(digest);
        } catch (JsonProcessingException | NoSuchAlgorithmException impossible) {
            throw new IllegalStateException("a fingerprint could not be made", impossible);
        }
    }
}
