package ulysses.driver.tokenizer;

import java.util.stream.IntStream;

/**
 * Token ids and what they stand for.
 *
 * @param ids token ids [length]
 * @param starts first char of each in the text [length]
 * @param ends char behind the last of each [length]
 */
@SuppressWarnings("ArrayRecordComponent") // never compared; read at once
record EncodedText(int[] ids, int[] starts, int[] ends) {

    /** Collects tokens one by one. */
    static final class Builder {
        private final IntStream.Builder ids = IntStream.builder();
        private final IntStream.Builder starts = IntStream.builder();
        private final IntStream.Builder ends = IntStream.builder();

        void add(int id, int start, int end) {
            ids.add(id);
            starts.add(start);
            ends.add(end);
        }

        EncodedText build() {
            return new EncodedText(
                    ids.build().toArray(),
                    starts.build().toArray(),
                    ends.build().toArray());
        }
    }
}
