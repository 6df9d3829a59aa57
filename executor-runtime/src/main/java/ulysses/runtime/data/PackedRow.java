package ulysses.runtime.data;

import java.util.Arrays;

/**
 * One packed row: token ids, labels and where its documents end. Positions restart in each document and are derived. What lies
 * behind the last document is padding: label -100, never seen by a document.
 *
 * @param ids token ids [length]
 * @param labels unshifted labels as in a Hugging Face batch [length]: {@code labels[t]} is {@code ids[t]} or {@link #IGNORE_INDEX}
 * @param documentLengths tokens of each document, in order; their sum is at most length
 * @param attention whether a document sees those before it
 */
@SuppressWarnings(
        "ArrayRecordComponent") // contents are compared below; boxed ids of a million tokens would cost 16 MB a row
public record PackedRow(int[] ids, int[] labels, int[] documentLengths, Attention attention) {

    /** A label that does not count. */
    public static final int IGNORE_INDEX = -100;

    /** What a token sees beyond its own document. */
    public enum Attention {
        /** Nothing. */
        DOCUMENT,
        /** All documents before it, as LLaMA-Factory's packing without neat_packing has it; positions restart all the same. */
        ROW
    }

    /** A row whose documents do not see each other. */
    public PackedRow(int[] ids, int[] labels, int[] documentLengths) {
        this(ids, labels, documentLengths, Attention.DOCUMENT);
    }

    public PackedRow {
        if (ids.length != labels.length) {
            throw new IllegalArgumentException("row has %d ids but %d labels".formatted(ids.length, labels.length));
        }
        long sum = 0;
        for (int documentLength : documentLengths) {
            if (documentLength <= 0) {
                throw new IllegalArgumentException(
                        "document of length " + documentLength + "; every document needs a token");
            }
            sum += documentLength;
        }
        if (sum > ids.length) {
            throw new IllegalArgumentException(
                    "documents hold %d tokens but the row only %d".formatted(sum, ids.length));
        }
    }

    /** Tokens, padding included. */
    public int length() {
        return ids.length;
    }

    /** Tokens in documents. */
    public int tokens() {
        return Arrays.stream(documentLengths).sum();
    }

    /** Tokens that attend to each other and predict each other's next: documents, or all of them together. */
    int[] seenTogether() {
        return attention == Attention.DOCUMENT || documentLengths.length == 0 ? documentLengths : new int[] {tokens()};
    }

    /** The same row with another attention. */
    PackedRow withAttention(Attention other) {
        return new PackedRow(ids, labels, documentLengths, other);
    }

    /**
     * Number of predictions that count: labels at a position that has a predecessor in its own document (numerics.md, rule 1).
     */
    public int trainedTokens() {
        int trained = 0;
        int start = 0;
        for (int documentLength : seenTogether()) {
            for (int t = start + 1; t < start + documentLength; t++) {
                if (labels[t] != IGNORE_INDEX) {
                    trained++;
                }
            }
            start += documentLength;
        }
        return trained;
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof PackedRow row
                && Arrays.equals(ids, row.ids)
                && Arrays.equals(labels, row.labels)
                && Arrays.equals(documentLengths, row.documentLengths)
                && attention == row.attention;
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(ids);
    }

    @Override
    public String toString() {
        return "PackedRow[%d tokens, documents %s]".formatted(ids.length, Arrays.toString(documentLengths));
    }
}
