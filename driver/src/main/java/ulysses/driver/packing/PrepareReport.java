package ulysses.driver.packing;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.io.IOException;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/**
 * What preparing made of the rows: the content of {@code prepare_report.json}, written last of all. The same for the same data,
 * whatever the cluster.
 *
 * @param version of this report
 * @param dataFingerprint of everything that decides about the rows
 * @param tokenizerFingerprint of the tokenizer
 * @param train the training rows
 * @param eval rows to evaluate on, by names of sets, in order
 */
public record PrepareReport(
        int version, String dataFingerprint, String tokenizerFingerprint, Part train, Map<String, Part> eval) {
    public PrepareReport {
        eval = Collections.unmodifiableMap(new LinkedHashMap<>(eval));
    }

    /** Name of the report in the folder of prepared data. */
    public static final String FILE_NAME = "prepare_report.json";

    static final int VERSION = 2;
    /** Rows that are listed by name for each reason. */
    static final int LISTED_ROWS = 100;

    private static final ObjectMapper JSON = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

    /**
     * A row of a data set.
     *
     * @param number in the mix of all data sets, from 0
     * @param dataset name in dataset_info.json
     * @param row in its data set, from 0
     */
    public record Row(long number, String dataset, long row) implements Serializable {}

    /**
     * Rows of one kind.
     *
     * @param count how many
     * @param first the first ones
     */
    public record Rows(long count, List<Row> first) implements Serializable {
        public Rows {
            first = List.copyOf(first);
        }

        static Rows one(Row row) {
            return new Rows(1, List.of(row));
        }

        static Rows none() {
            return new Rows(0, List.of());
        }

        Rows plus(Rows other) {
            List<Row> all = new ArrayList<>(first);
            all.addAll(other.first);
            all.sort(Comparator.comparingLong(Row::number));
            return new Rows(count + other.count, all.subList(0, Math.min(all.size(), LISTED_ROWS)));
        }
    }

    /**
     * Training or evaluation rows.
     *
     * @param packing how rows were made
     * @param cutoffLength tokens a row can hold
     * @param rowsRead rows of the data sets
     * @param rowsKept those that are in a packed row
     * @param dropped those that are not, by reason
     * @param truncated kept rows that lost tokens to cutoff_len
     * @param truncatedTokens tokens they lost
     * @param leftOutTokens tokens in no row because the packing drops them (LLaMA-Factory's pretraining)
     * @param documents texts in packed rows; a text that is longer than a row counts once for each piece
     * @param tokens tokens in packed rows
     * @param trainedTokens predictions that count
     * @param packedRows rows to train on
     * @param fill tokens / (packed rows * cutoff_len)
     * @param packedRowsOtherwise how many rows other packings would make
     */
    public record Part(
            String packing,
            int cutoffLength,
            long rowsRead,
            long rowsKept,
            Map<String, Rows> dropped,
            Rows truncated,
            long truncatedTokens,
            long leftOutTokens,
            long documents,
            long tokens,
            long trainedTokens,
            long packedRows,
            double fill,
            Map<String, Long> packedRowsOtherwise) {
        public Part {
            dropped = Collections.unmodifiableMap(new TreeMap<>(dropped));
            packedRowsOtherwise = Collections.unmodifiableMap(new TreeMap<>(packedRowsOtherwise));
        }

        /** Rows in no packed row. */
        public long rowsDropped() {
            return rowsRead - rowsKept;
        }

        /** One line for the log. */
        public String summary() {
            return "%d rows read, %d dropped, %d truncated: %d rows of up to %d tokens (packing %s), %d tokens, %d trained, fill %.2f %%"
                    .formatted(
                            rowsRead,
                            rowsDropped(),
                            truncated.count(),
                            packedRows,
                            cutoffLength,
                            packing.toLowerCase(Locale.ROOT),
                            tokens,
                            trainedTokens,
                            100 * fill);
        }
    }

    /** Tokens in packed rows of all sets. */
    public long tokens() {
        return train.tokens() + eval.values().stream().mapToLong(Part::tokens).sum();
    }

    byte[] toBytes() {
        try {
            return (JSON.writeValueAsString(this) + "\n").getBytes(StandardCharsets.UTF_8);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a record of strings and numbers can't be written as JSON", e);
        }
    }

    /** The report in {@code bytes}; empty if it can't be read, for example because it is of another version. */
    public static Optional<PrepareReport> parse(byte[] bytes) {
        try {
            PrepareReport report = JSON.readValue(bytes, PrepareReport.class);
            return report.version == VERSION ? Optional.of(report) : Optional.empty();
        } catch (IOException | IllegalArgumentException e) {
            return Optional.empty();
        }
    }
}
