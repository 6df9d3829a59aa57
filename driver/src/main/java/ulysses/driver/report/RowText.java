package ulysses.driver.report;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import ulysses.runtime.data.PackedRow;

/**
 * A packed row as text: its documents one below the other, the tokens that are trained on between marks. What is long is cut in the
 * middle and says by how much.
 *
 * @param decoder ids to text
 * @param marks round trained text
 * @param length whether long texts are cut
 */
public record RowText(Decoder decoder, Marks marks, Length length) {

    /** Shows ids where no tokenizer is known. */
    public static final Decoder IDS =
            ids -> Arrays.stream(ids).mapToObj(Integer::toString).collect(Collectors.joining(" "));

    /** Limits of {@link Length#SHORT}: documents of a row, stretches of a document, characters at a stretch's begin and end. */
    private static final int DOCUMENTS = 4;

    private static final int STRETCHES = 12;
    private static final int HEAD = 300;
    private static final int TAIL = 150;

    /** Ids to text. */
    @FunctionalInterface
    public interface Decoder {
        String decode(int[] ids);
    }

    /** What stands before and after trained text. */
    public enum Marks {
        PLAIN("\u27e6", "\u27e7"),
        COLOURED("\u001b[32m\u27e6", "\u27e7\u001b[0m");

        private final String before;
        private final String after;

        Marks(String before, String after) {
            this.before = before;
            this.after = after;
        }
    }

    /** How much is shown. */
    public enum Length {
        SHORT,
        FULL
    }

    /** Tokens [from, to) of a row that are all trained on, or all not. */
    private record Stretch(int from, int to, boolean trained) {}

    /**
     * A piece of a document.
     *
     * @param trained whether its tokens are trained on
     */
    public record Part(String text, boolean trained) {}

    /**
     * A document of a row.
     *
     * @param tokens all of them
     * @param trained those that are trained on
     * @param parts its text in order, trained and other parts in turn; long ones are cut
     * @param partsLeft parts that are not shown
     */
    public record Document(int tokens, int trained, List<Part> parts, int partsLeft) {
        public Document {
            parts = List.copyOf(parts);
        }
    }

    /** The lines of row {@code number}. */
    public List<String> lines(long number, PackedRow row) {
        List<String> lines = new ArrayList<>();
        int documents = row.documentLengths().length;
        lines.add(String.format(
                Locale.ROOT,
                "row %d: %,d tokens in %,d %s, %,d trained, %,d padding",
                number,
                row.tokens(),
                documents,
                documents == 1 ? "document" : "documents",
                row.trainedTokens(),
                row.length() - row.tokens()));
        List<Document> shown = documents(row);
        for (int i = 0; i < shown.size(); i++) {
            Document document = shown.get(i);
            lines.add("--- document %d of %d: %d tokens, %d trained"
                    .formatted(i + 1, documents, document.tokens(), document.trained()));
            lines.addAll(marked(document).lines().toList());
        }
        if (shown.size() < documents) {
            lines.add("--- and %d more documents (--full shows all)".formatted(documents - shown.size()));
        }
        return lines;
    }

    /** The documents of a row; only the first ones unless all is wanted. */
    public List<Document> documents(PackedRow row) {
        int documents = row.documentLengths().length;
        int shown = length == Length.FULL ? documents : Math.min(documents, DOCUMENTS);
        List<Document> texts = new ArrayList<>();
        int start = 0;
        for (int document = 0; document < shown; document++) {
            int end = start + row.documentLengths()[document];
            texts.add(document(row, stretches(row, start, end), end - start));
            start = end;
        }
        return texts;
    }

    /** A label counts where its token has a predecessor in its own document: {@link PackedRow#trainedTokens}. */
    private static List<Stretch> stretches(PackedRow row, int start, int end) {
        List<Stretch> stretches = new ArrayList<>();
        int from = start;
        boolean trained = false;
        for (int t = start + 1; t < end; t++) {
            boolean counts = row.labels()[t] != PackedRow.IGNORE_INDEX;
            if (counts != trained) {
                stretches.add(new Stretch(from, t, trained));
                from = t;
                trained = counts;
            }
        }
        stretches.add(new Stretch(from, end, trained));
        return stretches;
    }

    private Document document(PackedRow row, List<Stretch> stretches, int tokens) {
        int shown = length == Length.FULL ? stretches.size() : Math.min(stretches.size(), STRETCHES);
        List<Part> parts = stretches.subList(0, shown).stream()
                .map(stretch -> new Part(
                        cut(printable(decoder.decode(Arrays.copyOfRange(row.ids(), stretch.from(), stretch.to())))),
                        stretch.trained()))
                .toList();
        int trained = stretches.stream()
                .filter(Stretch::trained)
                .mapToInt(stretch -> stretch.to() - stretch.from())
                .sum();
        return new Document(tokens, trained, parts, stretches.size() - shown);
    }

    private String marked(Document document) {
        StringBuilder text = new StringBuilder();
        for (Part part : document.parts()) {
            text.append(part.trained() ? marks.before + part.text() + marks.after : part.text());
        }
        if (document.partsLeft() > 0) {
            text.append("\n[... %d more turns ...]".formatted(document.partsLeft()));
        }
        return text.toString();
    }

    private String cut(String text) {
        int characters = text.codePointCount(0, text.length());
        int left = characters - HEAD - TAIL;
        if (length == Length.FULL || left <= 0) {
            return text;
        }
        return text.substring(0, text.offsetByCodePoints(0, HEAD))
                + String.format(Locale.ROOT, "[... %,d characters ...]", left)
                + text.substring(text.offsetByCodePoints(text.length(), -TAIL));
    }

    /** Data must not steer the terminal: control characters but line breaks and tabs are spelled out. */
    private static String printable(String text) {
        StringBuilder printable = new StringBuilder();
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            boolean plain = !Character.isISOControl(c) || c == '\n' || c == '\t';
            printable.append(plain ? Character.toString(c) : "\\u%04x".formatted((int) c));
        }
        return printable.toString();
    }
}
