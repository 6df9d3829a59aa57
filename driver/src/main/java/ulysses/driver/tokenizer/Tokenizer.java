package ulysses.driver.tokenizer;

import java.io.Serializable;
import java.util.Optional;
import java.util.OptionalInt;
import org.apache.hadoop.conf.Configuration;

/** A Hugging Face tokenizer; serializable, loaded once per JVM. */
public final class Tokenizer implements Serializable {
    private static final long serialVersionUID = 1L;

    private final String folder;

    private Tokenizer(String folder) {
        this.folder = folder;
    }

    /** Opens the folder that holds tokenizer.json and tokenizer_config.json; local disk or any Hadoop file system. */
    public static Tokenizer open(String folder, Configuration hadoop) {
        return new Tokenizer(folder);
    }

    /** Token ids of a text; nothing is added, cut or padded. */
    public int[] encode(String text) {
        if (text.isEmpty()) {
            return new int[0];
        }
        throw new IllegalStateException(folder + " is not read yet");
    }

    /** The text of ids, special tokens included. */
    public String decode(int[] ids) {
        if (ids.length == 0) {
            return "";
        }
        throw new IllegalStateException(folder + " is not read yet");
    }

    /** Id of a token written exactly so. */
    public OptionalInt id(String token) {
        return OptionalInt.empty();
    }

    /** Begin of text. */
    public Optional<String> bosToken() {
        return Optional.empty();
    }

    /** End of text. */
    public Optional<String> eosToken() {
        return Optional.empty();
    }

    /** Padding. */
    public Optional<String> padToken() {
        return Optional.empty();
    }

    /** Whether pretraining texts begin with {@link #bosToken()}: {@code add_bos_token} of tokenizer_config.json. */
    public boolean addsBos() {
        return false;
    }

    /** Ids, added tokens included. */
    public int vocabularySize() {
        return 0;
    }

    /** SHA-256 of tokenizer.json, in hex. */
    public String fingerprint() {
        return "";
    }
}
