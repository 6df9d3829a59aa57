package ulysses.job;

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
record RowText(Decoder decoder, Marks marks, Length length) {

    /** Shows ids where no tokenizer is known. */
    static final Decoder IDS =
            ids -> Arrays.stream(ids).mapToObj(Integer::toString).collect(Collectors.joining(" "));

    /** Limits of {@link Length#SHORT}: documents of a row, stretches of a document, characters at a stretch's begin and end. */
    private static final int DOCUMENTS = 4;

    private static final int STRETCHES = 12;
    private static final int HEAD = 300;
    private static final int TAIL = 150;

    /** Ids to text. */
    @FunctionalInterface
    interface Decoder {
        String decode(int[] ids);
    }

    /** What stands before and after trained text. */
    enum Marks {
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
    enum Length {
        SHORT,
        FULL
    }

    /** Tokens [from, to) of a row that are all trained on, or all not. */
    private record Stretch(int from, int to, boolean trained) {}

    /** The lines of row {@code number}. */
    List<String> lines(long number, PackedRow row) {
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
        int shown = length == Length.FULL ? documents : Math.min(documents, DOCUMENTS);
        int start = 0;
        for (int document = 0; document < shown; document++) {
            int end = start + row.documentLengths()[document];
            List<Stretch> stretches = stretches(row, start, end);
            int trained = stretches.stream()
                    .filter(Stretch::trained)
                    .mapToInt(stretch -> stretch.to() - stretch.from())
                    .sum();
            lines.add("--- document %d of %d: %d tokens, %d trained"
                    .formatted(document + 1, documents, end - start, trained));
            lines.addAll(text(row, stretches).lines().toList());
            start = end;
        }
        if (shown < documents) {
            lines.add("--- and %d more documents (--full shows all)".formatted(documents - shown));
        }
        return lines;
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

    private String text(PackedRow row, List<Stretch> stretches) {
        int shown = length == Length.FULL ? stretches.size() : Math.min(stretches.size(), STRETCHES);
        StringBuilder text = new StringBuilder();
        for (Stretch stretch : stretches.subList(0, shown)) {
            int[] ids = Arrays.copyOfRange(row.ids(), stretch.from(), stretch.to());
            String part = cut(printable(decoder.decode(ids)));
            text.append(stretch.trained() ? marks.before + part + marks.after : part);
        }
        if (shown < stretches.size()) {
            text.append("\n[... %d more turns ...]".formatted(stretches.size() - shown));
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
