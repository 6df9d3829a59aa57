package ulysses.runtime.config;

import com.fasterxml.jackson.annotation.JsonSubTypes;
import com.fasterxml.jackson.annotation.JsonTypeInfo;

/** What is learnt ({@link Stage}) and which parameters are trained. */
@JsonTypeInfo(use = JsonTypeInfo.Id.NAME, property = "finetuning_type")
@JsonSubTypes(@JsonSubTypes.Type(value = TuningConfig.Full.class, name = "full"))
public sealed interface TuningConfig {

    /** What is learnt. */
    enum Stage {
        /** Continued pretraining: every token counts. */
        PT,
        /** Supervised fine-tuning: answers count. */
        SFT
    }

    /** {@code stage}. */
    Stage stage();

    /** {@code finetuning_type: full}: all parameters. */
    record Full(Stage stage) implements TuningConfig {}
}
