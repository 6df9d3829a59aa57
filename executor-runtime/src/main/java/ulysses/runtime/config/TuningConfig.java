package ulysses.runtime.config;

import com.fasterxml.jackson.annotation.JsonSubTypes;
import com.fasterxml.jackson.annotation.JsonTypeInfo;
import java.util.List;

/** What is learnt ({@link Stage}) and which parameters are trained. */
@JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = "finetuning_type")
@JsonSubTypes({
    @JsonSubTypes.Type(value = TuningConfig.Full.class, name = "full"),
    @JsonSubTypes.Type(value = TuningConfig.Lora.class, name = "lora"),
    @JsonSubTypes.Type(value = TuningConfig.Freeze.class, name = "freeze")
})
public sealed interface TuningConfig {

    /** What is learnt. */
    enum Stage {
        /** Continued pretraining: every token counts. */
        PT,
        /** Supervised fine-tuning: answers count. */
        SFT,
        /** Preference training: pairs of answers. */
        DPO
    }

    /** {@code stage}. */
    Stage stage();

    /** {@code finetuning_type: full}: all parameters. */
    record Full(Stage stage) implements TuningConfig {}

    /**
     * {@code finetuning_type: lora}: low-rank adapters beside linear modules; the model itself is frozen.
     *
     * @param rank {@code lora_rank}
     * @param alpha {@code lora_alpha}: twice the rank when not given
     * @param dropout {@code lora_dropout}
     * @param target {@code lora_target}: ends of module names, or all
     * @param additionalTarget {@code additional_target}: modules that are trained whole
     * @param rankStabilized {@code use_rslora}
     * @param plusRatio {@code loraplus_lr_ratio}: learning rate of B over that of A; 1 when not given
     * @param adapters {@code adapter_name_or_path}: folders of PEFT, in order
     * @param createNewAdapter {@code create_new_adapter}: merge all of {@code adapters} and start another, instead of going on with the
     *     last
     */
    record Lora(
            Stage stage,
            int rank,
            int alpha,
            double dropout,
            List<String> target,
            List<String> additionalTarget,
            boolean rankStabilized,
            double plusRatio,
            List<String> adapters,
            boolean createNewAdapter)
            implements TuningConfig {
        /** What {@code lora_target} says for all linear modules but the head. */
        public static final String ALL = "all";

        public Lora {
            target = List.copyOf(target);
            additionalTarget = List.copyOf(additionalTarget);
            adapters = List.copyOf(adapters);
        }

        /** The same with {@code folders} for {@code adapters}. */
        public Lora withAdapters(List<String> folders) {
            return new Lora(
                    stage,
                    rank,
                    alpha,
                    dropout,
                    target,
                    additionalTarget,
                    rankStabilized,
                    plusRatio,
                    folders,
                    createNewAdapter);
        }
    }

    /**
     * {@code finetuning_type: freeze}: some layers.
     *
     * @param layers {@code freeze_trainable_layers}: the last n, or the first when negative
     * @param modules {@code freeze_trainable_modules}: parts of those layers, or all
     * @param extraModules {@code freeze_extra_modules}: modules outside of layers
     */
    record Freeze(Stage stage, int layers, List<String> modules, List<String> extraModules) implements TuningConfig {
        /** What {@code freeze_trainable_modules} says for whole layers. */
        public static final String ALL = "all";

        public Freeze {
            modules = List.copyOf(modules);
            extraModules = List.copyOf(extraModules);
        }
    }
}
