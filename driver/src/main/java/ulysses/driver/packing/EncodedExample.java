package ulysses.driver.packing;

import java.util.Arrays;
import ulysses.runtime.data.PackedRow;

/**
 * Token ids and labels of one example.
 *
 * @param ids token ids [length]
 * @param labels unshifted: the id where the token is trained, else {@link PackedRow#IGNORE_INDEX} [length]
 * @param truncated whether tokens were cut to keep within cutoff_len
 * @param originalTokens tokens before cutting
 */
@SuppressWarnings("ArrayRecordComponent") // contents are compared below; boxed ids would cost 16 bytes a token
public record EncodedExample(int[] ids, int[] labels, boolean truncated, int originalTokens) implements Encoded {

    public EncodedExample {
        if (ids.length != labels.length) {
            throw new IllegalArgumentException("example has %d ids but %d labels".formatted(ids.length, labels.length));
        }
    }

    /** Tokens that are kept. */
    public int length() {
        return ids.length;
    }

    /** Tokens whose label counts. */
    public int trainedTokens() {
        return (int) Arrays.stream(labels)
                .filter(label -> label != PackedRow.IGNORE_INDEX)
                .count();
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof EncodedExample example
                && Arrays.equals(ids, example.ids)
                && Arrays.equals(labels, example.labels)
                && truncated == example.truncated
                && originalTokens == example.originalTokens;
    }

    @Override
    public int hashCode() {
        return Arrays.hashCode(ids);
    }

    @Override
    public String toString() {
        return "EncodedExample[%d of %d tokens, %d trained]".formatted(ids.length, originalTokens, trainedTokens());
    }
}
