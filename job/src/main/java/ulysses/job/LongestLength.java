package ulysses.job;

import java.io.IOException;

/**
 * Looks for the longest sequence whose ranks together stay within {@code limitBytes}: lengths are doubled while they fit, then the gap
 * is halved. No length is tried that a straight line through the two longest that fitted puts a quarter beyond the limit, so that the
 * search does not take the machine's memory from others.
 *
 * @param limitBytes of all ranks of the machine together
 * @param first length that is tried
 * @param multiple lengths are multiples of this
 */
record LongestLength(long limitBytes, int first, int multiple) {

    /** The search ends when it is known so well; chosen. */
    private static final double PRECISION = 0.05;

    private static final double BEYOND = 1.25;

    /** Measures the peak of all ranks at a length, in bytes. */
    @FunctionalInterface
    interface Peak {
        long at(int length) throws IOException, InterruptedException;
    }

    private record Known(long length, long bytes) {}

    /** The longest length that fits within 5 %; 0 when not even the first one does. */
    int find(Peak peak) throws IOException, InterruptedException {
        Known before = new Known(0, 0);
        Known fits = new Known(0, 0);
        long beyond = Integer.MAX_VALUE;
        long next = rounded(first);
        while (next > fits.length() && next < beyond) {
            long bytes = peak.at((int) next);
            if (bytes > limitBytes) {
                beyond = next;
            } else {
                before = fits;
                fits = new Known(next, bytes);
                beyond = Math.min(beyond, Math.max(next + multiple, expected(before, fits)));
            }
            boolean known = fits.length() > 0 && beyond - fits.length() <= PRECISION * fits.length();
            if (fits.length() == 0 || known) {
                break;
            }
            next = rounded(Math.min(2 * fits.length(), (fits.length() + beyond) / 2));
        }
        return (int) fits.length();
    }

    private long rounded(long length) {
        return Math.max(multiple, length / multiple * multiple);
    }

    /** Where the line through both crosses {@link #BEYOND} times the limit; the largest int where it does not rise yet. */
    private long expected(Known shorter, Known longer) {
        if (shorter.length() == 0 || longer.bytes() <= shorter.bytes()) {
            return Integer.MAX_VALUE;
        }
        double bytesPerToken = (double) (longer.bytes() - shorter.bytes()) / (longer.length() - shorter.length());
        double room = BEYOND * limitBytes - longer.bytes();
        return (long) Math.min(Integer.MAX_VALUE, longer.length() + room / bytesPerToken);
    }
}
