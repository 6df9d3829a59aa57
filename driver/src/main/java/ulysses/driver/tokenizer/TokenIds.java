package ulysses.driver.tokenizer;

import java.util.List;

/** Arrays of token ids. */
final class TokenIds {
    private TokenIds() {}

    /** All ids behind each other. */
    static int[] concatenate(List<int[]> pieces) {
        int[] all = new int[pieces.stream().mapToInt(piece -> piece.length).sum()];
        int at = 0;
        for (int[] piece : pieces) {
            System.arraycopy(piece, 0, all, at, piece.length);
            at += piece.length;
        }
        return all;
    }
}
