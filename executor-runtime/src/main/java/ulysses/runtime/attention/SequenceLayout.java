package ulysses.runtime.attention;

import java.util.Arrays;

/**
 * Where the documents of one micro-batch lie. A micro-batch is one stream of {@code S} tokens: the documents of its rows one after
 * the other, the last one padding where the length had to grow to a multiple of P. Every rank of the group holds the same layout.
 *
 * @param documentEnds where documents end, starting with 0 and ending with S (FlashAttention's {@code cu_seqlens})
 */
@SuppressWarnings("ArrayRecordComponent") // never compared; handed to kernels as it is
public record SequenceLayout(int[] documentEnds) {
    public SequenceLayout {
        if (documentEnds.length < 2 || documentEnds[0] != 0) {
            throw new IllegalArgumentException("documentEnds must start with 0 and hold at least one document");
        }
        for (int i = 1; i < documentEnds.length; i++) {
            if (documentEnds[i] <= documentEnds[i - 1]) {
                throw new IllegalArgumentException("documentEnds must increase, but entry %d is %d after %d"
                        .formatted(i, documentEnds[i], documentEnds[i - 1]));
            }
        }
    }

    /** Documents, padding included. */
    public int documents() {
        return documentEnds.length - 1;
    }

    /** Tokens of the whole stream, S. */
    public int length() {
        return documentEnds[documentEnds.length - 1];
    }

    /** First token of document {@code d}. */
    public int start(int d) {
        return documentEnds[d];
    }

    /** Tokens of document {@code d}. */
    public int length(int d) {
        return documentEnds[d + 1] - documentEnds[d];
    }

    /** Tokens of the longest document. */
    public int longest() {
        int longest = 0;
        for (int d = 0; d < documents(); d++) {
            longest = Math.max(longest, length(d));
        }
        return longest;
    }

    /** Documents {@code first} to {@code last} - 1 as a stream of their own. */
    SequenceLayout part(int first, int last) {
        int[] ends = Arrays.copyOfRange(documentEnds, first, last + 1);
        for (int i = 0; i < ends.length; i++) {
            ends[i] -= documentEnds[first];
        }
        return new SequenceLayout(ends);
    }
}
