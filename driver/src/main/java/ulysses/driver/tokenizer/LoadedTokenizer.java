package ulysses.driver.tokenizer;

import ai.djl.huggingface.tokenizers.Encoding;
import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import ai.djl.huggingface.tokenizers.jni.CharSpan;
import ai.djl.huggingface.tokenizers.jni.TokenizersLibrary;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Supplier;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.data.DataException;

/** One native tokenizer, shared by all threads of a JVM for as long as the JVM lives. */
final class LoadedTokenizer {

    /**
     * Which tokenizer: the file's content and what is changed in it.
     *
     * @param fingerprint SHA-256 of tokenizer.json
     * @param special tokens made special beyond those of the file
     * @param spellOut whether special tokens are ordinary text
     */
    record Key(String fingerprint, Set<String> special, boolean spellOut) {}

    /** Loading takes a second and 100 MB for a vocabulary of 150 000: once per JVM, not per task. Entries are immutable. */
    private static final Map<Key, LoadedTokenizer> LOADED = new ConcurrentHashMap<>();

    private final HuggingFaceTokenizer tokenizer;
    private final Map<String, Integer> vocabulary;
    private final Set<String> special;
    private final @Nullable WordIds words;

    private LoadedTokenizer(
            HuggingFaceTokenizer tokenizer, Map<String, Integer> vocabulary, Set<String> special, boolean wordByWord) {
        this.tokenizer = tokenizer;
        this.vocabulary = vocabulary;
        this.special = special;
        this.words = wordByWord ? new WordIds(this::encodeAtOnce) : null;
    }

    static LoadedTokenizer get(Key key, String folder, Configuration hadoop) {
        return LOADED.computeIfAbsent(key, absent -> load(absent, folder, hadoop));
    }

    private static LoadedTokenizer load(Key key, String folder, Configuration hadoop) {
        byte[] bytes = TokenizerFiles.tokenizerJson(folder, hadoop);
        String found = TokenizerFiles.fingerprint(bytes);
        if (!found.equals(key.fingerprint())) {
            throw new DataException(
                    ("%s/tokenizer.json has SHA-256 %s here but %s where the run began; put the model on a file "
                                    + "system that every executor sees")
                            .formatted(folder, found, key.fingerprint()));
        }
        JsonNode json = TokenizerFiles.parse(bytes, folder + "/tokenizer.json");
        TokenizerFiles.refuseGrowth(json, folder + "/tokenizer.json");
        TokenizerFiles.refuseTornMerges(json, folder + "/tokenizer.json");
        Map<String, Integer> vocabulary = TokenizerFiles.vocabulary(json);
        Set<String> special = TokenizerFiles.special(json);
        if (!key.special().isEmpty() || key.spellOut()) {
            TokenizerFiles.markSpecial(json, new TreeSet<>(key.special()), vocabulary);
            if (key.spellOut()) {
                TokenizerFiles.spellOutSpecial(json, TokenizerFiles.modelVocabulary(json));
            }
        }
        // Written anew in any case: the library ends the process at JSON that its own reader refuses.
        byte[] written = TokenizerFiles.text(json).getBytes(StandardCharsets.UTF_8);
        return new LoadedTokenizer(open(written, folder), vocabulary, special, WordIds.areEnoughFor(json));
    }

    /** The library's defaults cut at 512 tokens and pad batches: both are switched off. */
    private static HuggingFaceTokenizer open(byte[] bytes, String folder) {
        if (System.getProperty("ai.djl.offline") == null) {
            System.setProperty(
                    "ai.djl.offline", "true"); // the native library is in the jar: never ask the network for it
        }
        try {
            return HuggingFaceTokenizer.newInstance(
                    new ByteArrayInputStream(bytes),
                    Map.of("truncation", "false", "padding", "false", "addSpecialTokens", "false"));
        } catch (IOException | RuntimeException failure) { // the library refuses with any exception
            throw new DataException(
                    "%s/tokenizer.json can't be loaded: %s; copy it again from the model, or save it with a newer transformers"
                            .formatted(folder, failure.getMessage()),
                    failure);
        }
    }

    Map<String, Integer> vocabulary() {
        return vocabulary;
    }

    /** Tokens that are special in the file itself. */
    Set<String> special() {
        return special;
    }

    int[] encode(String text) {
        return words == null ? encodeAtOnce(text) : words.encode(text);
    }

    /** Asks the library for ids only: its own {@code encode} also fetches tokens, offsets and masks. */
    int[] encodeAtOnce(String text) {
        long encoding = asked(() -> TokenizersLibrary.LIB.encode(tokenizer.getHandle(), text, false));
        try {
            return ints(TokenizersLibrary.LIB.getTokenIds(encoding));
        } finally {
            TokenizersLibrary.LIB.deleteEncoding(encoding);
        }
    }

    /** What the library finds wrong with a file only when it meets a text, such as an unknown token that is itself unknown. */
    private static <T> T asked(Supplier<T> library) {
        try {
            return library.get();
        } catch (RuntimeException failure) { // the library refuses with any exception
            throw new DataException(
                    "tokenizer.json can't make tokens of a text: %s; copy it again from the model"
                            .formatted(failure.getMessage()),
                    failure);
        }
    }

    int[] encodeWithAddedTokens(String text) {
        return ints(asked(() -> tokenizer.encode(text, true, false)).getIds());
    }

    /** The library counts in code points. */
    EncodedText encodeWithPlaces(String text) {
        Encoding encoding = asked(() -> tokenizer.encode(text, false, false));
        int[] chars = charsOfCodePoints(text);
        CharSpan[] spans = encoding.getCharTokenSpans();
        int[] starts = new int[spans.length];
        int[] ends = new int[spans.length];
        for (int i = 0; i < spans.length; i++) {
            starts[i] = spans[i] == null ? 0 : chars[spans[i].getStart()];
            ends[i] = spans[i] == null ? 0 : chars[spans[i].getEnd()];
        }
        return new EncodedText(ints(encoding.getIds()), starts, ends);
    }

    private static int[] charsOfCodePoints(String text) {
        int[] chars = new int[text.codePointCount(0, text.length()) + 1];
        for (int point = 0, at = 0; point < chars.length; point++) {
            chars[point] = at;
            at += at < text.length() ? Character.charCount(text.codePointAt(at)) : 0;
        }
        return chars;
    }

    private static int[] ints(long[] ids) {
        int[] narrow = new int[ids.length];
        for (int i = 0; i < ids.length; i++) {
            narrow[i] = (int) ids[i];
        }
        return narrow;
    }

    String decode(int[] ids) {
        long[] wide = new long[ids.length];
        for (int i = 0; i < ids.length; i++) {
            wide[i] = ids[i];
        }
        return asked(() -> tokenizer.decode(wide, false));
    }
}
