package ulysses.driver.packing;

import java.io.Serializable;
import ulysses.driver.dataset.Example;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.config.TrainingConfig;

/** Turns examples into token ids and labels, for stages pt and sft. Serializable; used by all tasks at once. */
public final class ExampleEncoder implements Serializable {
    private static final long serialVersionUID = 1L;

    private final Tokenizer tokenizer;

    private ExampleEncoder(Tokenizer tokenizer) {
        this.tokenizer = tokenizer;
    }

    /** An encoder for a run; refuses an unknown template and a tokenizer that lacks the template's tokens. */
    public static ExampleEncoder of(TrainingConfig config, Tokenizer tokenizer) {
        return new ExampleEncoder(tokenizer);
    }

    /** Token ids and labels of one example. */
    public Encoded encode(Example example) {
        return new Encoded.Dropped("not encoded yet with " + tokenizer.fingerprint());
    }

    /** Fills rows up: the tokenizer's pad token, or the end token after the template changed it. */
    public int padId() {
        return 0;
    }

    /** The end token after the template changed it. */
    public int eosId() {
        return 0;
    }
}
