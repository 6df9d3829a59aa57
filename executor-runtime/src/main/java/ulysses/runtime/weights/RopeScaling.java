package ulysses.runtime.weights;

import java.util.LinkedHashMap;
import java.util.Map;

/**
 * How rotary frequencies are changed for sequences longer than those of pretraining. The formulas are those of transformers'
 * {@code modeling_rope_utils.py}; {@code inv[i] = theta^(-2i/H)}.
 */
public sealed interface RopeScaling {

    /** What config.json calls it, {@code rope_type}. */
    String type();

    /** The entry of config.json, without {@code rope_theta}. */
    Map<String, Object> toJson();

    /** Frequencies as they are. */
    record None() implements RopeScaling {
        @Override
        public String type() {
            return "default";
        }

        @Override
        public Map<String, Object> toJson() {
            return Map.of("rope_type", type());
        }
    }

    /**
     * Every frequency divided by factor.
     *
     * @param factor at least 1
     */
    record Linear(double factor) implements RopeScaling {
        @Override
        public String type() {
            return "linear";
        }

        @Override
        public Map<String, Object> toJson() {
            return entry(this, factor);
        }
    }

    /**
     * The base grows with the sequence: for length S (at least maxPositions) it is {@code theta * (factor * S / maxPositions -
     * (factor - 1))^(H / (H - 2))}. Rows of at most maxPositions tokens see no change.
     *
     * @param factor at least 1
     * @param maxPositions {@code max_position_embeddings} as the model now has it
     */
    record Dynamic(double factor, int maxPositions) implements RopeScaling {
        @Override
        public String type() {
            return "dynamic";
        }

        @Override
        public Map<String, Object> toJson() {
            return entry(this, factor);
        }
    }

    /**
     * Llama 3.1: long waves divided by factor, short ones kept, between them interpolated.
     *
     * @param factor divides long waves
     * @param lowFrequencyFactor waves longer than originalPositions / this are long
     * @param highFrequencyFactor waves shorter than originalPositions / this are short
     * @param originalPositions {@code original_max_position_embeddings}
     */
    record Llama3(double factor, double lowFrequencyFactor, double highFrequencyFactor, int originalPositions)
            implements RopeScaling {
        @Override
        public String type() {
            return "llama3";
        }

        @Override
        public Map<String, Object> toJson() {
            Map<String, Object> json = entry(this, factor);
            json.put("low_freq_factor", lowFrequencyFactor);
            json.put("high_freq_factor", highFrequencyFactor);
            json.put("original_max_position_embeddings", originalPositions);
            return json;
        }
    }

    /**
     * YaRN (arXiv:2309.00071): a ramp between kept and divided frequencies, and a factor on cos and sin.
     *
     * @param factor divides the frequencies past the ramp
     * @param originalPositions {@code original_max_position_embeddings}
     * @param betaFast rotations where the ramp starts
     * @param betaSlow rotations where the ramp ends
     * @param attentionFactor multiplies cos and sin; worked out from mscale where config.json gives that instead
     * @param truncate whether the ramp's ends are rounded to whole dimensions (floor and ceiling)
     */
    record Yarn(
            double factor,
            int originalPositions,
            double betaFast,
            double betaSlow,
            double attentionFactor,
            boolean truncate)
            implements RopeScaling {
        @Override
        public String type() {
            return "yarn";
        }

        @Override
        public Map<String, Object> toJson() {
            Map<String, Object> json = entry(this, factor);
            json.put("original_max_position_embeddings", originalPositions);
            json.put("beta_fast", betaFast);
            json.put("beta_slow", betaSlow);
            json.put("attention_factor", attentionFactor);
            json.put("truncate", truncate);
            return json;
        }

        /** The attention factor that the paper suggests: {@code 0.1 * mscale * ln(factor) + 1}, 1 when factor is at most 1. */
        static double suggestedAttentionFactor(double factor, double mscale) {
            return factor <= 1 ? 1 : 0.1 * mscale * Math.log(factor) + 1;
        }
    }

    private static Map<String, Object> entry(RopeScaling scaling, double factor) {
        Map<String, Object> json = new LinkedHashMap<>();
        json.put("rope_type", scaling.type());
        json.put("factor", factor);
        return json;
    }
}
