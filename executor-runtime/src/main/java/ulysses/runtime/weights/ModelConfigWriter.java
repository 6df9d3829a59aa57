package ulysses.runtime.weights;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

/** Writes config.json for a model that was trained: every field of the original stays, what training changed is put in. */
final class ModelConfigWriter {
    private ModelConfigWriter() {}

    /**
     * {@code original} with {@code spec}'s rotary scaling, positions and tie of the head, and {@code type} as the type of the weights, in the dialect
     * that the original speaks.
     */
    static String write(String original, ModelSpec spec, DataType type) {
        ObjectNode config;
        try {
            config = (ObjectNode) ModelConfigReader.JSON.readTree(original);
        } catch (JsonProcessingException e) {
            throw new IllegalArgumentException("a config.json that was read before can be read again", e);
        }
        if (!config.path("architectures").isArray()
                || config.path("architectures").isEmpty()) {
            config.putArray("architectures").add(spec.architecture());
        }
        config.put(config.hasNonNull("dtype") ? "dtype" : "torch_dtype", type.torchName());
        ModelSpec before = ModelSpec.parse(original, ModelDirectory.CONFIG);
        if (before.tiedHead() != spec.tiedHead()) {
            config.put("tie_word_embeddings", spec.tiedHead());
        }
        if (!before.ropeScaling().equals(spec.ropeScaling())) {
            writeScaling(config, spec);
        }
        return config.toPrettyString() + "\n";
    }

    private static void writeScaling(ObjectNode config, ModelSpec spec) {
        ObjectNode scaling =
                ModelConfigReader.JSON.valueToTree(spec.ropeScaling().toJson());
        JsonNode parameters = config.path("rope_parameters");
        if (parameters.isObject()) {
            scaling.put("rope_theta", spec.ropeTheta());
            config.remove("rope_scaling");
            config.set("rope_parameters", scaling);
        } else {
            config.put("rope_theta", spec.ropeTheta());
            config.set("rope_scaling", scaling);
        }
        config.put("max_position_embeddings", spec.maxPositions());
    }
}
