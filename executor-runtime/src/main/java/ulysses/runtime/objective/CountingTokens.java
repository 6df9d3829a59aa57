package ulysses.runtime.objective;

import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.data.PackedRow;

/**
 * The tokens of a rank's part that predict something; the head never sees the others.
 *
 * @param places in the part [m]
 * @param targets what they predict [m]
 */
@SuppressWarnings("ArrayRecordComponent") // handed to native code as they are; compared nowhere
record CountingTokens(int[] places, int[] targets) {

    /** Those among the {@code targets} [s] of a part. */
    static CountingTokens of(int[] targets) {
        int[] places = IntStream.range(0, targets.length)
                .filter(t -> targets[t] != PackedRow.IGNORE_INDEX)
                .toArray();
        return new CountingTokens(
                places, IntStream.of(places).map(t -> targets[t]).toArray());
    }

    int count() {
        return places.length;
    }

    boolean isEmpty() {
        return places.length == 0;
    }

    /** Their rows of {@code hidden} [s,D], as [m,D]. */
    Tensor rowsOf(Tensor hidden) {
        return hidden.index_select(0, on(hidden, places));
    }

    /** What they predict [m], where {@code hidden} lies. */
    Tensor targetsOn(Tensor hidden) {
        return on(hidden, targets);
    }

    /** {@code rows} [m,D] at their places, zero elsewhere: [s,D] like {@code hidden}. */
    Tensor spread(Tensor rows, Tensor hidden) {
        Tensor all = torch.zeros_like(hidden); // [s,D]
        all.index_copy_(0, on(hidden, places), rows);
        return all;
    }

    private static Tensor on(Tensor like, int[] values) {
        return torch.tensor(values).to(like.device(), torch.ScalarType.Long);
    }
}
