package ulysses.runtime.data;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.LongStream;

/**
 * Rows that one sequence-parallel group forwards at once, as one stream of S tokens: the documents of all rows behind each other
 * (padding behind a row's last document is dropped), then a padding document that makes S divisible. The shift of labels is done
 * here, on the whole stream, before it is cut (numerics.md, rules 1 to 3).
 *
 * @param ids token ids [S]
 * @param targets the id that position t predicts, or {@link PackedRow#IGNORE_INDEX} [S]: the label of t + 1 in the same document
 * @param positions place in its own document [S], also where documents see each other
 * @param documentEnds 0 and the end of each document (of each row whose documents see each other), the padding document included; the last is S (what kernels call cu_seqlens)
 * @param numbers of tokens in the whole run [S]: of row and place in it, the same however rows are dealt; negative for padding
 * @param trainedTokens targets that count
 * @param tokens tokens without padding
 */
@SuppressWarnings("ArrayRecordComponent") // handed to native code as they are; compared nowhere
public record MicroBatch(
        int[] ids,
        int[] targets,
        int[] positions,
        int[] documentEnds,
        long[] numbers,
        long trainedTokens,
        long tokens) {

    /** Id of padding tokens: any valid one, since nothing attends to them and their targets don't count. */
    private static final int PADDING_ID = 0;

    /**
     * One rank's part [s], s = S/P.
     *
     * @param first place of its first token in the stream
     */
    @SuppressWarnings("ArrayRecordComponent") // as above
    public record Slice(int first, int[] ids, int[] targets, int[] positions, long[] numbers) {}

    /** Rows that are the first of the run; see {@link #of(List, int, long)}. */
    public static MicroBatch of(List<PackedRow> rows, int multiple) {
        return of(rows, multiple, 0);
    }

    /**
     * Puts rows into one stream.
     *
     * @param rows may be empty: the stream is then padding only
     * @param multiple S is a multiple of this and at least this
     * @param firstPlace how many rows the run has before these, over all epochs and ranks
     */
    public static MicroBatch of(List<PackedRow> rows, int multiple, long firstPlace) {
        return of(
                rows,
                multiple,
                LongStream.range(firstPlace, firstPlace + rows.size()).toArray());
    }

    /**
     * Puts rows into one stream.
     *
     * @param rows may be empty: the stream is then padding only
     * @param multiple S is a multiple of this and at least this
     * @param places of each row in the run, over all epochs and ranks
     */
    public static MicroBatch of(List<PackedRow> rows, int multiple, long[] places) {
        if (multiple < 1) {
            throw new IllegalArgumentException("length multiple %d; it is at least 1".formatted(multiple));
        }
        List<Integer> lengths = new ArrayList<>();
        List<Integer> restarts = new ArrayList<>();
        for (PackedRow row : rows) {
            Arrays.stream(row.seenTogether()).forEach(lengths::add);
            Arrays.stream(row.documentLengths()).forEach(restarts::add);
        }
        long tokens = rows.stream().mapToLong(PackedRow::tokens).sum();
        int padded = Math.toIntExact(Math.max((tokens + multiple - 1) / multiple, 1) * multiple);
        if (padded > tokens) {
            lengths.add((int) (padded - tokens));
            restarts.add((int) (padded - tokens));
        }
        int[] ids = new int[padded];
        int[] labels = new int[padded];
        Arrays.fill(ids, PADDING_ID);
        Arrays.fill(labels, PackedRow.IGNORE_INDEX);
        long[] numbers = new long[padded];
        Arrays.fill(numbers, -1);
        int start = 0;
        for (int r = 0; r < rows.size(); r++) {
            PackedRow row = rows.get(r);
            System.arraycopy(row.ids(), 0, ids, start, row.tokens());
            System.arraycopy(row.labels(), 0, labels, start, row.tokens());
            for (int t = 0; t < row.tokens(); t++) {
                numbers[start + t] = places[r] << Integer.SIZE | t;
            }
            start += row.tokens();
        }
        return cut(new Tokens(ids, labels, positions(restarts, padded), numbers), lengths, tokens);
    }

    private static int[] positions(List<Integer> lengths, int length) {
        int[] positions = new int[length];
        int start = 0;
        for (int document : lengths) {
            for (int t = 0; t < document; t++) {
                positions[start + t] = t;
            }
            start += document;
        }
        return positions;
    }

    /** The stream before its labels are shifted, each [S]. */
    @SuppressWarnings("ArrayRecordComponent") // as above
    private record Tokens(int[] ids, int[] labels, int[] positions, long[] numbers) {}

    private static MicroBatch cut(Tokens stream, List<Integer> lengths, long tokens) {
        int[] labels = stream.labels();
        int[] targets = new int[labels.length];
        int[] ends = new int[lengths.size() + 1];
        long trained = 0;
        for (int document = 0; document < lengths.size(); document++) {
            int start = ends[document];
            int end = start + lengths.get(document);
            ends[document + 1] = end;
            for (int t = start; t < end; t++) {
                targets[t] = t + 1 < end ? labels[t + 1] : PackedRow.IGNORE_INDEX;
                trained += targets[t] == PackedRow.IGNORE_INDEX ? 0 : 1;
            }
        }
        return new MicroBatch(stream.ids(), targets, stream.positions(), ends, stream.numbers(), trained, tokens);
    }

    /** Documents of the rows, the padding document left out. */
    public int documents() {
        return documentEnds.length - (length() > tokens ? 2 : 1);
    }

    /** Length of the stream, S. */
    public int length() {
        return ids.length;
    }

    /** The part of sequence-parallel rank {@code rank} out of {@code groupSize}. */
    public Slice slice(int rank, int groupSize) {
        if (rank < 0 || rank >= groupSize || length() % groupSize != 0) {
            throw new IllegalArgumentException(
                    "no part %d of %d of a stream of %d tokens".formatted(rank, groupSize, length()));
        }
        int part = length() / groupSize;
        int from = rank * part;
        return new Slice(
                from,
                Arrays.copyOfRange(ids, from, from + part),
                Arrays.copyOfRange(targets, from, from + part),
                Arrays.copyOfRange(positions, from, from + part),
                Arrays.copyOfRange(numbers, from, from + part));
    }
}
