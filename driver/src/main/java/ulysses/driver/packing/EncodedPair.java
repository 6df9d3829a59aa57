package ulysses.driver.packing;

import java.util.Arrays;

/**
 * A prompt with a better and a worse answer, encoded; both begin with the same prompt.
 *
 * @param chosen prompt and better answer
 * @param rejected prompt and worse answer
 */
public record EncodedPair(EncodedExample chosen, EncodedExample rejected) implements Encoded {

    /** The chosen and then the rejected answer, each behind its prompt. */
    EncodedExample joined() {
        return new EncodedExample(
                joined(chosen.ids(), rejected.ids()),
                joined(chosen.labels(), rejected.labels()),
                chosen.truncated() || rejected.truncated(),
                chosen.originalTokens() + rejected.originalTokens());
    }

    private static int[] joined(int[] first, int[] second) {
        int[] both = Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, both, first.length, second.length);
        return both;
    }
}
