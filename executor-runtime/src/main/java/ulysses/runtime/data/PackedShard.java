package ulysses.runtime.data;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.data.ArrowStream.Batch;

/**
 * One file of packed rows on local disk, read row by row: an Arrow IPC stream with integer list columns {@code input_ids} and
 * {@code labels}, and {@code seq_lengths}, {@code position_ids} or {@code attention_mask} where rows hold several documents. Ours
 * come from {@link PackedShardWriter}; those of {@code datasets.save_to_disk} are read as well, with LLaMA-Factory's columns
 * {@code chosen_input_ids}, {@code chosen_labels} and the same of {@code rejected} for pairs: each row has two documents then.
 * Opening reads metadata only. Safe for use by several threads.
 */
public final class PackedShard implements Closeable {
    static final String INPUT_IDS = "input_ids";
    static final String LABELS = "labels";
    static final String SEQ_LENGTHS = "seq_lengths";
    private static final String POSITION_IDS = "position_ids";
    private static final String ATTENTION_MASK = "attention_mask";
    private static final String CHOSEN = "chosen_";
    private static final String REJECTED = "rejected_";
    private static final Set<String> COLUMNS = Set.of(
            INPUT_IDS,
            LABELS,
            SEQ_LENGTHS,
            POSITION_IDS,
            ATTENTION_MASK,
            CHOSEN + INPUT_IDS,
            CHOSEN + LABELS,
            REJECTED + INPUT_IDS,
            REJECTED + LABELS);

    private final DataFile file;
    private final List<Batch> batches;
    private final long[] batchStarts;
    private final long rows;
    private final boolean pairs;

    private PackedShard(DataFile file, List<Batch> batches, boolean pairs) {
        this.file = file;
        this.pairs = pairs;
        this.batches = batches;
        this.batchStarts = batches.stream().mapToLong(Batch::firstRow).toArray();
        this.rows = batches.stream().mapToLong(Batch::rows).sum();
    }

    /**
     * Opens {@code path} and checks its structure.
     *
     * @throws DataException if it is damaged, cut short or no file of packed rows
     */
    public static PackedShard open(Path path) throws IOException {
        DataFile file = DataFile.open(path);
        try {
            ArrowStream stream = ArrowStream.index(file, COLUMNS);
            boolean pairs = stream.integerLists().contains(CHOSEN + INPUT_IDS);
            for (String side : pairs ? List.of(CHOSEN, REJECTED) : List.of("")) {
                requireColumn(file, stream, side + INPUT_IDS);
                requireColumn(file, stream, side + LABELS);
            }
            return new PackedShard(file, stream.batches(), pairs);
        } catch (IOException | RuntimeException e) {
            file.close();
            throw e;
        }
    }

    private static void requireColumn(DataFile file, ArrowStream stream, String name) {
        if (!stream.integerLists().contains(name)) {
            throw file.unsupported(
                    "it needs a column %s of integer lists; its columns are %s".formatted(name, stream.columns()));
        }
    }

    /** Whether its columns say that each row is a pair; rows of ours leave that to the manifest. */
    boolean holdsPairs() {
        return pairs;
    }

    /** Number of rows. */
    public long rows() {
        return rows;
    }

    /**
     * Reads row {@code index}, counted from 0 in this file.
     *
     * @throws DataException if its bytes can't be a row
     */
    public PackedRow row(long index) throws IOException {
        return row(index, Integer.MAX_VALUE);
    }

    /** The same; ids and labels have to be below {@code vocabulary}. */
    PackedRow row(long index, int vocabulary) throws IOException {
        if (index < 0 || index >= rows) {
            throw new IndexOutOfBoundsException("row %d of %s, which has %d".formatted(index, file, rows));
        }
        int found = Arrays.binarySearch(batchStarts, index);
        Batch batch = batches.get(found >= 0 ? found : -found - 2);
        int row = (int) (index - batch.firstRow());
        try {
            if (pairs) {
                PackedRow pair = pair(batch, row);
                checkValues(pair.ids(), pair.labels(), vocabulary);
                return pair;
            }
            int[] ids = column(batch, INPUT_IDS).read(file, row);
            int[] labels = column(batch, LABELS).read(file, row);
            checkValues(ids, labels, vocabulary);
            return DocumentBoundaries.row(
                    ids,
                    labels,
                    optional(batch, SEQ_LENGTHS, row),
                    optional(batch, POSITION_IDS, row),
                    optional(batch, ATTENTION_MASK, row));
        } catch (IllegalArgumentException e) {
            throw new DataException("row %d of %s can't be used: %s".formatted(index, file, e.getMessage()), e);
        }
    }

    private PackedRow pair(Batch batch, int row) throws IOException {
        int[] chosen = column(batch, CHOSEN + INPUT_IDS).read(file, row);
        int[] rejected = column(batch, REJECTED + INPUT_IDS).read(file, row);
        return new PackedRow(
                joined(chosen, rejected),
                joined(
                        column(batch, CHOSEN + LABELS).read(file, row),
                        column(batch, REJECTED + LABELS).read(file, row)),
                new int[] {chosen.length, rejected.length});
    }

    private static int[] joined(int[] first, int[] second) {
        int[] both = Arrays.copyOf(first, first.length + second.length);
        System.arraycopy(second, 0, both, first.length, second.length);
        return both;
    }

    private static ArrowColumn column(Batch batch, String name) {
        return Objects.requireNonNull(batch.lists().get(name), name);
    }

    private int @Nullable [] optional(Batch batch, String name, int row) throws IOException {
        ArrowColumn column = batch.lists().get(name);
        return column == null ? null : column.read(file, row);
    }

    private static void checkValues(int[] ids, int[] labels, int vocabulary) {
        for (int t = 0; t < ids.length; t++) {
            if (ids[t] < 0 || ids[t] >= vocabulary) {
                throw new IllegalArgumentException(outside("token id", ids[t], t, vocabulary));
            }
        }
        for (int t = 0; t < labels.length; t++) {
            if (labels[t] != PackedRow.IGNORE_INDEX && (labels[t] < 0 || labels[t] >= vocabulary)) {
                throw new IllegalArgumentException(outside("label", labels[t], t, vocabulary));
            }
        }
    }

    private static String outside(String what, int value, int place, int vocabulary) {
        String limit = vocabulary == Integer.MAX_VALUE
                ? "0 or more"
                : "0 to %d, the model's vocab_size being %d; tokenize with the tokenizer of this model"
                        .formatted(vocabulary - 1, vocabulary);
        return "%s %d at token %d; allowed are %s%s"
                .formatted(what, value, place, what.equals("label") ? PackedRow.IGNORE_INDEX + " and " : "", limit);
    }

    @Override
    public void close() throws IOException {
        file.close();
    }

    @Override
    public String toString() {
        return file.toString();
    }
}
