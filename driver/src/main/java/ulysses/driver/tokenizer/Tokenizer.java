package ulysses.driver.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.Serializable;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.util.SerializableConfiguration;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.data.DataException;

/**
 * A Hugging Face tokenizer (tokenizer.json) with the special tokens of its tokenizer_config.json. Gives the ids that transformers
 * gives with {@code add_special_tokens=False}: nothing is added, cut or padded.
 *
 * <p>Serializable and small: only the folder and the file's fingerprint travel. Each JVM loads the file once, on first use, and all
 * threads share it.
 */
public final class Tokenizer implements Serializable {
    private static final long serialVersionUID = 1L;

    private static final List<String> NAMED_TOKENS =
            List.of("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token");

    private final String folder;
    private final SerializableConfiguration hadoop;
    private final String fingerprint;
    private final @Nullable String bosToken;
    private final @Nullable String eosToken;
    private final @Nullable String padToken;
    private final boolean addsBos;
    private final LinkedHashMap<String, String> namedTokens;
    private final @Nullable String chatTemplate;
    private final TreeSet<String> special;
    private final boolean spellsOutSpecial;
    private transient @Nullable LoadedTokenizer loaded;

    private Tokenizer(Tokenizer origin, Set<String> special, boolean spellsOutSpecial) {
        this.folder = origin.folder;
        this.hadoop = origin.hadoop;
        this.fingerprint = origin.fingerprint;
        this.bosToken = origin.bosToken;
        this.eosToken = origin.eosToken;
        this.padToken = origin.padToken;
        this.addsBos = origin.addsBos;
        this.namedTokens = origin.namedTokens;
        this.chatTemplate = origin.chatTemplate;
        this.special = new TreeSet<>(special);
        this.spellsOutSpecial = spellsOutSpecial;
    }

    private Tokenizer(String folder, Configuration configuration, JsonNode config, JsonNode specialTokens) {
        this.folder = folder;
        this.hadoop = new SerializableConfiguration(configuration);
        this.fingerprint = TokenizerFiles.fingerprint(TokenizerFiles.tokenizerJson(folder, configuration));
        this.bosToken = token("bos_token", config, specialTokens);
        this.eosToken = token("eos_token", config, specialTokens);
        this.padToken = token("pad_token", config, specialTokens);
        this.addsBos = config.path("add_bos_token").asBoolean(false);
        this.namedTokens = new LinkedHashMap<>();
        for (String name : NAMED_TOKENS) {
            String token = token(name, config, specialTokens);
            if (token != null) {
                namedTokens.put(name, token);
            }
        }
        this.chatTemplate = TokenizerFiles.chatTemplate(folder, config, configuration);
        this.special = new TreeSet<>();
        this.spellsOutSpecial = false;
    }

    /**
     * Opens a tokenizer folder.
     *
     * @param folder holds tokenizer.json and tokenizer_config.json; local disk or any Hadoop file system
     * @param hadoop how to reach it
     * @throws DataException when a file is missing or damaged, or the configuration names a token the file lacks
     */
    public static Tokenizer open(String folder, Configuration hadoop) {
        JsonNode config = TokenizerFiles.json(folder, "tokenizer_config.json", hadoop);
        JsonNode specialTokens = TokenizerFiles.json(folder, "special_tokens_map.json", hadoop);
        Tokenizer tokenizer = new Tokenizer(folder, hadoop, config, specialTokens);
        Set<String> special = new TreeSet<>();
        tokenizer.bosToken().ifPresent(token -> special.add(tokenizer.known(token, "bos_token")));
        tokenizer.eosToken().ifPresent(token -> special.add(tokenizer.known(token, "eos_token")));
        tokenizer.padToken().ifPresent(token -> special.add(tokenizer.known(token, "pad_token")));
        for (JsonNode additional : config.path("additional_special_tokens")) {
            String token = content(additional);
            if (token != null && tokenizer.id(token).isPresent()) {
                special.add(token);
            }
        }
        return tokenizer.withSpecialTokens(special);
    }

    private static @Nullable String token(String key, JsonNode config, JsonNode specialTokens) {
        String configured = content(config.path(key));
        return configured != null || config.has(key) ? configured : content(specialTokens.path(key));
    }

    /** A token is written as text or as an object with its content. */
    private static @Nullable String content(JsonNode token) {
        JsonNode text = token.isObject() ? token.path("content") : token;
        return text.isTextual() ? text.textValue() : null;
    }

    private String known(String token, String key) {
        if (id(token).isEmpty()) {
            throw new DataException(
                    "%s %s of %s/tokenizer_config.json is not in tokenizer.json; add it there or remove the key"
                            .formatted(key, token, folder));
        }
        return token;
    }

    /** This tokenizer with more tokens cut out of texts as special; they have to be in its vocabulary. */
    public Tokenizer withSpecialTokens(Collection<String> tokens) {
        Set<String> union = new TreeSet<>(special);
        union.addAll(tokens);
        union.removeAll(loaded().special()); // so that tokenizers that work alike share one copy in memory
        return new Tokenizer(this, union, spellsOutSpecial);
    }

    /** This tokenizer with special tokens read as ordinary text: {@code split_special_tokens}. */
    public Tokenizer spellingOutSpecialTokens() {
        return new Tokenizer(this, special, true);
    }

    private LoadedTokenizer loaded() {
        LoadedTokenizer current = loaded;
        if (current == null) {
            current = LoadedTokenizer.get(
                    new LoadedTokenizer.Key(fingerprint, Set.copyOf(special), spellsOutSpecial),
                    folder,
                    hadoop.value());
            loaded = current;
        }
        return current;
    }

    /** Everything that is cut out of a text before anything else. */
    Set<String> specialTokens() {
        Set<String> all = new TreeSet<>(special);
        all.addAll(loaded().special());
        return all;
    }

    /** Token ids of a text by the library alone; what {@link #encode} has to equal. */
    int[] encodeAtOnce(String text) {
        return text.isEmpty() ? new int[0] : loaded().encodeAtOnce(text);
    }

    /** Token ids of a text. */
    public int[] encode(String text) {
        return text.isEmpty() ? new int[0] : loaded().encode(text);
    }

    /** The text of ids, special tokens included. */
    public String decode(int[] ids) {
        return ids.length == 0 ? "" : loaded().decode(ids);
    }

    /** Id of a token written exactly so. */
    public OptionalInt id(String token) {
        Integer id = loaded().vocabulary().get(token);
        return id == null ? OptionalInt.empty() : OptionalInt.of(id);
    }

    /** Begin of text. */
    public Optional<String> bosToken() {
        return Optional.ofNullable(bosToken);
    }

    /** End of text. */
    public Optional<String> eosToken() {
        return Optional.ofNullable(eosToken);
    }

    /** Padding. */
    public Optional<String> padToken() {
        return Optional.ofNullable(padToken);
    }

    /** The chat template that came with the tokenizer: tokenizer_config.json's, or the file chat_template.jinja. */
    public Optional<String> chatTemplate() {
        return Optional.ofNullable(chatTemplate);
    }

    /** Special tokens by the names that chat templates know them by, such as bos_token. */
    Map<String, String> namedTokens() {
        return namedTokens;
    }

    /** What the tokenizer itself puts round an empty text: begin of text as a rule, or nothing. */
    String addedToEmptyText() {
        return decode(loaded().encodeWithAddedTokens(""));
    }

    /** Token ids of a text with the part of the text that each stands for. */
    EncodedText encodeWithPlaces(String text) {
        return loaded().encodeWithPlaces(text);
    }

    /** Whether pretraining texts begin with {@link #bosToken()}: {@code add_bos_token} of tokenizer_config.json. */
    public boolean addsBos() {
        return addsBos;
    }

    /** Largest id it can give; the model's embedding has to be larger. */
    public int largestId() {
        return loaded().vocabulary().values().stream()
                .mapToInt(Integer::intValue)
                .max()
                .orElse(-1);
    }

    /** SHA-256 of tokenizer.json, in hex. */
    public String fingerprint() {
        return fingerprint;
    }

    /** How its file system is reached. */
    public Configuration hadoop() {
        return hadoop.value();
    }

    /** Where it was opened. */
    public String folder() {
        return folder;
    }
}
