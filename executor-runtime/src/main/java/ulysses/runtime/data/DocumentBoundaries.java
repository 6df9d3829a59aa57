package ulysses.runtime.data;

import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * Finds the documents of a row that another program tokenized. In this order: {@code seq_lengths}; document numbers in
 * {@code attention_mask} (1, 2, .. k, padding 0), as LLaMA-Factory's neat_packing writes them; {@code position_ids} that start
 * again at 0; else the whole row is one document. Padding is where the mask is 0, before or behind the documents; it is cut off.
 */
final class DocumentBoundaries {
    private DocumentBoundaries() {}

    /**
     * The row with its documents.
     *
     * @throws IllegalArgumentException if the columns contradict each other
     */
    static PackedRow row(
            int[] ids, int[] labels, int @Nullable [] lengths, int @Nullable [] positions, int @Nullable [] mask) {
        if (lengths != null) {
            return new PackedRow(ids, labels, lengths);
        }
        checkLength("labels", labels, ids);
        checkLength("position_ids", positions, ids);
        checkLength("attention_mask", mask, ids);
        int start = 0;
        int end = ids.length;
        while (mask != null && start < end && mask[start] == 0) {
            start++;
        }
        while (mask != null && end > start && mask[end - 1] == 0) {
            end--;
        }
        // LLaMA-Factory's plain packing marks padding only by position 0 and label -100; such a document has no
        // prediction.
        while (positions != null
                && end > start + 1
                && positions[end - 1] == 0
                && labels[end - 1] == PackedRow.IGNORE_INDEX) {
            end--;
        }
        boolean[] starts = starts(start, end, positions, mask);
        return new PackedRow(
                Arrays.copyOfRange(ids, start, end),
                Arrays.copyOfRange(labels, start, end),
                lengths(starts, start, end));
    }

    private static void checkLength(String name, int @Nullable [] values, int[] ids) {
        if (values != null && values.length != ids.length) {
            throw new IllegalArgumentException(
                    "%s has %d values for %d input_ids".formatted(name, values.length, ids.length));
        }
    }

    /** Where documents start between {@code start} and {@code end}. */
    private static boolean[] starts(int start, int end, int @Nullable [] positions, int @Nullable [] mask) {
        boolean[] starts = new boolean[end];
        boolean numbered = mask != null && Arrays.stream(mask).anyMatch(value -> value > 1);
        for (int t = start; t < end; t++) {
            if (mask != null && mask[t] <= 0) {
                throw new IllegalArgumentException(
                        "attention_mask is %d at token %d, inside of the row".formatted(mask[t], t));
            }
            boolean first = t == start;
            if (numbered && mask != null) {
                starts[t] = first || mask[t] != mask[t - 1];
            } else if (positions != null) {
                starts[t] = first || positions[t] == 0;
                int expected = starts[t] ? 0 : positions[t - 1] + 1;
                if (positions[t] != expected) {
                    throw new IllegalArgumentException("position_ids is %d at token %d; %s is expected"
                            .formatted(positions[t], t, first ? "0" : "0 or " + (positions[t - 1] + 1)));
                }
            } else {
                starts[t] = first;
            }
        }
        return starts;
    }

    private static int[] lengths(boolean[] starts, int start, int end) {
        int[] lengths = new int[Math.max(end - start, 0)];
        int count = 0;
        for (int t = start; t < end; t++) {
            if (starts[t]) {
                count++;
            }
            lengths[count - 1]++;
        }
        return Arrays.copyOf(lengths, count);
    }
}
