package ulysses.runtime.config;

import org.jspecify.annotations.Nullable;

/**
 * Preference training ({@code stage: dpo}).
 *
 * @param loss {@code pref_loss}
 * @param beta {@code pref_beta}: above 0
 * @param ftx {@code pref_ftx}: share of the chosen answer's sft loss
 * @param labelSmoothing {@code dpo_label_smoothing}: share of pairs taken to be the wrong way round; below 0.5, sigmoid only
 * @param simpoGamma {@code simpo_gamma}: margin that simpo asks for
 * @param ldAlpha {@code ld_alpha}: weight of tokens beyond the shorter answer; null weighs all alike
 * @param refModel {@code ref_model}: the model to compare with; null means the one that training starts from
 * @param precomputed {@code precompute_ref_logps} (ours): the reference's log-probabilities are computed before the first step and
 *     kept with the prepared rows
 */
public record PreferenceConfig(
        Loss loss,
        double beta,
        double ftx,
        double labelSmoothing,
        double simpoGamma,
        @Nullable Double ldAlpha,
        @Nullable String refModel,
        boolean precomputed) {

    /** The same with the reference in {@code folder}. */
    public PreferenceConfig withRefModel(String folder) {
        return new PreferenceConfig(loss, beta, ftx, labelSmoothing, simpoGamma, ldAlpha, folder, precomputed);
    }

    /** {@code pref_loss}; kto_pair is refused. */
    public enum Loss {
        SIGMOID,
        HINGE,
        IPO,
        ORPO,
        SIMPO;

        /** Whether it compares with a reference. */
        public boolean comparesWithReference() {
            return this != ORPO && this != SIMPO;
        }
    }

    public PreferenceConfig {
        if (!(beta > 0)) {
            throw new IllegalArgumentException("pref_beta %s is not above 0".formatted(beta));
        }
    }
}
