package ulysses.runtime.weights;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.List;

/** Reads {@code rope_parameters} (transformers 5) or {@code rope_scaling} (transformers 4). */
final class RopeScalingReader {
    private RopeScalingReader() {}

    /** The entry that counts; an empty one when there is none. */
    static JsonNode entryOf(JsonNode config) {
        JsonNode scaling = config.path("rope_scaling");
        return scaling.isObject() && !scaling.isEmpty() ? scaling : config.path("rope_parameters");
    }

    static RopeScaling read(JsonNode entry, int maxPositions, List<String> problems) {
        String type = entry.path("rope_type").asText(entry.path("type").asText("default"));
        double partial = entry.path("partial_rotary_factor").asDouble(1);
        if (partial != 1) {
            problems.add("partial_rotary_factor %s is not supported; only 1 is".formatted(partial));
        }
        int original = entry.path("original_max_position_embeddings").asInt(maxPositions);
        if (type.equals("default")) {
            return new RopeScaling.None();
        }
        double factor = factor(entry, (double) maxPositions / original, problems);
        return switch (type) {
            case "linear" -> new RopeScaling.Linear(factor);
            case "dynamic" -> new RopeScaling.Dynamic(factor, maxPositions);
            case "llama3" ->
                new RopeScaling.Llama3(
                        factor,
                        entry.path("low_freq_factor").asDouble(1),
                        entry.path("high_freq_factor").asDouble(4),
                        original);
            case "yarn" -> yarn(entry, factor, original);
            default -> {
                problems.add("rope scaling %s is not supported; use default, linear, dynamic, yarn or llama3"
                        .formatted(type));
                yield new RopeScaling.None();
            }
        };
    }

    private static double factor(JsonNode entry, double otherwise, List<String> problems) {
        double factor = entry.path("factor").asDouble(otherwise);
        if (!(factor >= 1) || Double.isInfinite(factor)) {
            problems.add("rope scaling factor %s is below 1; set factor to 1 or more".formatted(factor));
            return 1;
        }
        return factor;
    }

    /** transformers: mscale and mscale_all_dim count only together; betas of 0 mean their defaults. */
    private static RopeScaling yarn(JsonNode entry, double factor, int original) {
        double mscale = entry.path("mscale").asDouble(0);
        double mscaleAll = entry.path("mscale_all_dim").asDouble(0);
        double suggested = mscale != 0 && mscaleAll != 0
                ? RopeScaling.Yarn.suggestedAttentionFactor(factor, mscale)
                        / RopeScaling.Yarn.suggestedAttentionFactor(factor, mscaleAll)
                : RopeScaling.Yarn.suggestedAttentionFactor(factor, 1);
        double fast = entry.path("beta_fast").asDouble(0);
        double slow = entry.path("beta_slow").asDouble(0);
        return new RopeScaling.Yarn(
                factor,
                original,
                fast == 0 ? 32 : fast,
                slow == 0 ? 1 : slow,
                entry.path("attention_factor").asDouble(suggested),
                entry.path("truncate").asBoolean(true));
    }
}
