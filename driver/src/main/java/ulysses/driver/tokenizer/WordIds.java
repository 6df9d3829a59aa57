package ulysses.driver.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.Function;

/**
 * Remembers the ids of words, so that a tokenizer is asked once for each. Words are cut where byte-level BPE with the split patterns
 * of GPT-2, Llama 3 and Qwen always cuts: before a blank that follows a visible ASCII character and precedes an ASCII letter, and
 * between a line end and an ASCII letter. No alternative of these patterns goes over such a place: those that hold white space behind
 * their first character are white space only, and a blank or a line end is never kept from the letters behind it. Pieces are
 * encoded one by one anyway, so the ids are the same. Safe for several threads.
 */
final class WordIds {
    /** Chosen, not tuned: some 50 MB. */
    private static final int MOST_WORDS = 200_000;

    /** Longer ones come once. */
    private static final int LONGEST_WORD = 64;

    private static final String CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|";
    private static final String OTHERS = "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    private static final Set<String> SPLITS =
            Set.of(CONTRACTIONS + "\\p{N}" + OTHERS, CONTRACTIONS + "\\p{N}{1,3}" + OTHERS);

    private final Map<String, int[]> words = new ConcurrentHashMap<>();
    private final Function<String, int[]> tokenizer;

    WordIds(Function<String, int[]> tokenizer) {
        this.tokenizer = tokenizer;
    }

    /** Whether a tokenizer.json is of a kind for which words can be encoded one by one. */
    static boolean areEnoughFor(JsonNode json) {
        boolean bytePairs = json.path("model").path("type").asText().equals("BPE")
                && json.path("model").path("dropout").isNull();
        boolean composes = json.path("normalizer").isNull()
                || json.path("normalizer").path("type").asText().equals("NFC");
        return bytePairs && composes && splits(json.path("pre_tokenizer")) && marksAreWords(json.path("added_tokens"));
    }

    private static boolean splits(JsonNode preTokenizer) {
        if (preTokenizer.path("type").asText().equals("ByteLevel")) {
            return preTokenizer.path("use_regex").asBoolean()
                    && !preTokenizer.path("add_prefix_space").asBoolean(true);
        }
        JsonNode parts = preTokenizer.path("pretokenizers");
        return parts.size() == 2
                && SPLITS.contains(parts.path(0).path("pattern").path("Regex").asText())
                && parts.path(0).path("behavior").asText().equals("Isolated")
                && !parts.path(0).path("invert").asBoolean()
                && parts.path(1).path("type").asText().equals("ByteLevel")
                && !parts.path(1).path("add_prefix_space").asBoolean(true)
                && !parts.path(1).path("use_regex").asBoolean(true);
    }

    /** Tokens that are cut out first may neither hold white space nor look at what stands beside them. */
    private static boolean marksAreWords(JsonNode addedTokens) {
        for (JsonNode token : addedTokens) {
            boolean looksAround = token.path("lstrip").asBoolean()
                    || token.path("rstrip").asBoolean()
                    || token.path("single_word").asBoolean();
            if (looksAround || token.path("content").asText().chars().anyMatch(c -> c == ' ' || c == '\n')) {
                return false;
            }
        }
        return true;
    }

    int[] encode(String text) {
        int[] ids = new int[text.length() / 3 + 8];
        int count = 0;
        int from = 0;
        for (int at = 1; at <= text.length(); at++) {
            if (at == text.length() || isCut(text, at)) {
                int[] word = word(text.substring(from, at));
                if (count + word.length > ids.length) {
                    ids = Arrays.copyOf(ids, Math.max(2 * ids.length, count + word.length));
                }
                System.arraycopy(word, 0, ids, count, word.length);
                count += word.length;
                from = at;
            }
        }
        return Arrays.copyOf(ids, count);
    }

    private static boolean isCut(String text, int at) {
        char before = text.charAt(at - 1);
        char here = text.charAt(at);
        boolean blankBeforeWord =
                here == ' ' && before > ' ' && before < 0x7f && at + 1 < text.length() && isLetter(text.charAt(at + 1));
        return blankBeforeWord || (before == '\n' && isLetter(here));
    }

    private static boolean isLetter(char c) {
        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    }

    private int[] word(String word) {
        int[] known = words.get(word);
        if (known != null) {
            return known;
        }
        int[] ids = tokenizer.apply(word);
        if (word.length() <= LONGEST_WORD && words.size() < MOST_WORDS) {
            words.put(word, ids);
        }
        return ids;
    }
}
