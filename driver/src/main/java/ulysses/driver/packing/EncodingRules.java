package ulysses.driver.packing;

import java.io.Serializable;
import org.jspecify.annotations.Nullable;
import ulysses.driver.tokenizer.ChatEncoder;
import ulysses.driver.tokenizer.Thinking;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TuningConfig;

/**
 * What decides the ids and labels of an example; together with the tokenizer's fingerprint it identifies an encoding.
 *
 * @param stage pt, sft or dpo
 * @param template {@code template}: a name of templates.yaml or templateFile, {@code jinja}, or null; see {@link ChatEncoder#of}
 * @param templateFile {@code template_file}: templates of the user's own; null means none
 * @param cutoffLength {@code cutoff_len}: tokens a conversation, or an answer with its prompt, may have
 * @param cutsTexts whether a pretraining text is cut to {@code cutoff_len}; only without packing
 * @param trainsOnPrompt {@code train_on_prompt}
 * @param masksHistory {@code mask_history}: only the last answer is trained, and kept first
 * @param splitsSpecialTokens {@code split_special_tokens}
 * @param chat options of the template
 */
public record EncodingRules(
        TuningConfig.Stage stage,
        @Nullable String template,
        @Nullable String templateFile,
        int cutoffLength,
        boolean cutsTexts,
        boolean trainsOnPrompt,
        boolean masksHistory,
        boolean splitsSpecialTokens,
        ChatEncoder.Options chat)
        implements Serializable {

    /** The rules of a run. */
    public static EncodingRules of(TrainingConfig config) {
        TrainingConfig.Data data = config.data();
        return new EncodingRules(
                config.tuning().stage(),
                data.template(),
                data.templateFile(),
                data.cutoffLength(),
                data.packing() == TrainingConfig.Packing.NONE,
                data.trainOnPrompt(),
                data.maskHistory(),
                data.splitSpecialTokens(),
                new ChatEncoder.Options(
                        data.defaultSystem(),
                        data.toolFormat(),
                        Thinking.of(data.enableThinking()),
                        data.preserveThinking(),
                        data.toolDate(),
                        data.literalSpecialTokens()));
    }
}
