package ulysses.driver.packing;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/** Turns of one conversation on their way to one example. */
final class TurnBuffer {

    /**
     * One turn, cut and labelled.
     *
     * @param ids token ids
     * @param labels its labels
     */
    @SuppressWarnings("ArrayRecordComponent") // never compared; copied at once
    record Piece(int[] ids, int[] labels) {}

    private final List<Piece> pieces = new ArrayList<>();

    void add(Piece piece) {
        pieces.add(piece);
    }

    void reverse() {
        Collections.reverse(pieces);
    }

    /** All turns behind each other and a trained end. */
    EncodedExample join(int[] end, int originalTokens) {
        int length = end.length
                + pieces.stream().mapToInt(piece -> piece.ids().length).sum();
        int[] ids = new int[length];
        int[] labels = new int[length];
        int at = 0;
        for (Piece piece : pieces) {
            System.arraycopy(piece.ids(), 0, ids, at, piece.ids().length);
            System.arraycopy(piece.labels(), 0, labels, at, piece.labels().length);
            at += piece.ids().length;
        }
        System.arraycopy(end, 0, ids, at, end.length);
        System.arraycopy(end, 0, labels, at, end.length);
        return new EncodedExample(ids, labels, length < originalTokens, originalTokens);
    }
}
