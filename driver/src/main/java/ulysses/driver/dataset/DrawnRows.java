package ulysses.driver.dataset;

import java.io.Serializable;
import java.util.HashMap;
import java.util.Map;

/** Which rows of a dataset take part, and where: {@code num_samples}, then {@code max_samples}. */
interface DrawnRows extends Serializable {

    /** How many rows take part, repeated ones counted. */
    long count();

    /** Where a row stands; nowhere if it is left out. */
    long[] positions(long fileRow);

    /**
     * The rows that take part.
     *
     * @param rows rows in the file
     * @param samples {@code num_samples}; 0 means all in file order
     * @param limit {@code max_samples}; 0 means all
     * @param random draws with {@code num_samples}; the next dataset goes on with it
     */
    static DrawnRows of(long rows, long samples, int limit, NumpyRandomState random) {
        long wanted = samples > 0 ? samples : rows;
        long count = limit > 0 ? Math.min(limit, wanted) : wanted;
        return samples > 0 ? Sampled.of(rows, samples, count, random) : new First(count);
    }

    /** What {@code drawn} takes of the rows from {@code first} to before {@code end}, counted from there. */
    record Part(long first, long end, DrawnRows drawn) implements DrawnRows {
        @Override
        public long count() {
            return drawn.count();
        }

        @Override
        public long[] positions(long fileRow) {
            return fileRow < first || fileRow >= end ? new long[0] : drawn.positions(fileRow - first);
        }
    }

    /** The first rows of the file. */
    record First(long count) implements DrawnRows {
        @Override
        public long[] positions(long fileRow) {
            return fileRow < count ? new long[] {fileRow} : new long[0];
        }
    }

    /** Rows in random order; all once before any comes again. */
    record Sampled(long count, Map<Long, long[]> places) implements DrawnRows {

        static Sampled of(long rows, long samples, long count, NumpyRandomState random) {
            int all = Math.toIntExact(rows);
            int wanted = Math.toIntExact(samples);
            int[] order = random.permutation(all);
            int[] again = wanted > all ? random.choice(all, wanted - all) : new int[0];
            Map<Long, long[]> places = new HashMap<>();
            for (int position = 0; position < count; position++) {
                long row = position < all ? order[position] : again[position - all];
                places.merge(row, new long[] {position}, Sampled::joined);
            }
            return new Sampled(count, places);
        }

        private static long[] joined(long[] first, long[] second) {
            long[] all = java.util.Arrays.copyOf(first, first.length + second.length);
            System.arraycopy(second, 0, all, first.length, second.length);
            return all;
        }

        @Override
        public long[] positions(long fileRow) {
            return places.getOrDefault(fileRow, new long[0]);
        }
    }
}
