package ulysses.driver.tokenizer;

import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalInt;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.config.ConfigException;

/** Begin, end and padding of a tokenizer after a template changed them, as LLaMA-Factory's {@code fix_special_tokens} does. */
public final class SpecialTokens implements Serializable {
    private static final long serialVersionUID = 1L;

    private final @Nullable Integer bos;
    private final Integer eos;
    private final Integer pad;
    private final String eosToken;
    private final List<String> cutOut;

    private SpecialTokens(@Nullable Integer bos, Integer eos, Integer pad, String eosToken, List<String> cutOut) {
        this.bos = bos;
        this.eos = eos;
        this.pad = pad;
        this.eosToken = eosToken;
        this.cutOut = cutOut;
    }

    static SpecialTokens of(ChatTemplate template, Tokenizer tokenizer) {
        String eosToken = template.replacesEos()
                ? template.stopWords().get(0)
                : tokenizer.eosToken().orElse("<|endoftext|>");
        List<String> cutOut = new ArrayList<>(List.of(eosToken));
        // A further stop word that the tokenizer lacks (<|eom_id|> in Llama 3.0) can't be written, so nothing is cut at
        // it.
        template.stopWords().stream()
                .filter(word -> tokenizer.id(word).isPresent())
                .forEach(cutOut::add);
        int eos = id(eosToken, template.name(), tokenizer);
        Optional<String> pad = tokenizer.padToken();
        return new SpecialTokens(
                tokenizer
                        .bosToken()
                        .map(token -> id(token, template.name(), tokenizer))
                        .orElse(null),
                eos,
                pad.map(token -> id(token, template.name(), tokenizer)).orElse(eos),
                eosToken,
                cutOut);
    }

    static int id(String token, String template, Tokenizer tokenizer) {
        return tokenizer
                .id(token)
                .orElseThrow(() -> new ConfigException(
                        "the data settings",
                        List.of(
                                ("template %s needs the token %s, which the tokenizer in %s lacks; use the template of this model "
                                                + "family, or template: default or empty")
                                        .formatted(template, token, tokenizer.folder()))));
    }

    /** Begin of text, if the tokenizer has one. */
    public OptionalInt bos() {
        return bos == null ? OptionalInt.empty() : OptionalInt.of(bos);
    }

    /** End of text. */
    public OptionalInt eos() {
        return OptionalInt.of(eos);
    }

    /** Fills rows up; the end of text where the tokenizer has no padding. */
    public int pad() {
        return pad;
    }

    /** End of text, written out. */
    public String eosToken() {
        return eosToken;
    }

    /** Tokens that texts are cut at, beyond those of the tokenizer. */
    List<String> cutOut() {
        return cutOut;
    }
}
