package ulysses.driver.tokenizer;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.io.Serializable;
import java.util.Collection;
import java.util.Comparator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.data.DataException;

/**
 * Keeps what looks like a special token in data apart from the special tokens that a template writes: {@code literal_special_tokens}.
 * Data is marked when it is put in; encoding takes unmarked tokens as special and spells marked ones out as text. A text without
 * such a token is encoded as ever, to the same ids.
 */
final class LiteralTokens implements Serializable {
    private static final long serialVersionUID = 1L;

    /** A Unicode noncharacter, which no exchanged text may hold. */
    private static final String MARK = "\uFDD0";

    private final @Nullable Pattern tokens;

    private LiteralTokens(@Nullable Pattern tokens) {
        this.tokens = tokens;
    }

    /** Data may write special tokens, as LLaMA-Factory has it. */
    static LiteralTokens off() {
        return new LiteralTokens(null);
    }

    /** No token of {@code special} can come from data. */
    static LiteralTokens of(Collection<String> special) {
        String any = special.stream()
                .filter(token -> !token.isEmpty())
                .sorted(Comparator.comparingInt(String::length).reversed().thenComparing(Comparator.naturalOrder()))
                .map(Pattern::quote)
                .collect(Collectors.joining("|"));
        return new LiteralTokens(any.isEmpty() ? null : Pattern.compile(MARK + "(?:" + any + ")|(" + any + ")"));
    }

    /**
     * A text of the data, its tokens marked.
     *
     * @throws DataException for a text that holds the mark itself
     */
    String mark(String text) {
        if (tokens == null) {
            return text;
        }
        if (text.contains(MARK)) {
            throw new DataException(
                    "a text holds U+FDD0, which is no character; remove it, or set literal_special_tokens: false");
        }
        return tokens.matcher(text).replaceAll(found -> Matcher.quoteReplacement(MARK + found.group()));
    }

    /** All texts of a JSON value, keys too. */
    JsonNode mark(JsonNode value) {
        if (tokens == null) {
            return value;
        }
        if (value.isTextual()) {
            return TextNode.valueOf(mark(value.textValue()));
        }
        if (value.isObject()) {
            ObjectNode marked = JsonNodeFactory.instance.objectNode();
            value.properties().forEach(entry -> marked.set(mark(entry.getKey()), mark(entry.getValue())));
            return marked;
        }
        if (value.isArray()) {
            ArrayNode marked = JsonNodeFactory.instance.arrayNode(value.size());
            value.forEach(item -> marked.add(mark(item)));
            return marked;
        }
        return value;
    }

    /** Token ids of a text that templates and marked data are parts of. */
    int[] encode(Tokenizer tokenizer, String text) {
        return tokens == null || !text.contains(MARK)
                ? tokenizer.encode(text)
                : encodeWithPlaces(tokenizer, text).ids();
    }

    /** The same with the chars of {@code text} that each token stands for. */
    EncodedText encodeWithPlaces(Tokenizer tokenizer, String text) {
        if (tokens == null || !text.contains(MARK)) {
            return tokenizer.encodeWithPlaces(text);
        }
        Tokenizer spelling = tokenizer.spellingOutSpecialTokens();
        EncodedText.Builder pieces = new EncodedText.Builder();
        Matcher found = tokens.matcher(text);
        int from = 0;
        while (found.find()) {
            String special = found.group(1);
            if (special != null) {
                spelled(pieces, spelling, text, from, found.start());
                pieces.add(tokenizer.id(special).orElseThrow(), found.start(), found.end());
                from = found.end();
            }
        }
        spelled(pieces, spelling, text, from, text.length());
        return pieces.build();
    }

    private static void spelled(EncodedText.Builder pieces, Tokenizer spelling, String text, int from, int to) {
        int[] places = new int[to - from + 1];
        StringBuilder unmarked = new StringBuilder();
        for (int at = from; at < to; at++) {
            if (text.charAt(at) != MARK.charAt(0)) {
                places[unmarked.length()] = at;
                unmarked.append(text.charAt(at));
            }
        }
        places[unmarked.length()] = to;
        EncodedText encoded = spelling.encodeWithPlaces(unmarked.toString());
        for (int i = 0; i < encoded.ids().length; i++) {
            pieces.add(encoded.ids()[i], places[encoded.starts()[i]], places[encoded.ends()[i]]);
        }
    }
}
