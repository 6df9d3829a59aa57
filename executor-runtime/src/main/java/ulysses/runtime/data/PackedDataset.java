package ulysses.runtime.data;

import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.PackedManifest.FileEntry;

/**
 * A folder of packed rows, open for reading by row number. Ours has a {@link PackedManifest}; without one it is taken as written by
 * {@code datasets.save_to_disk} elsewhere, and all rows are read once to count them. Safe for use by several threads.
 */
public final class PackedDataset implements Closeable {
    /** What the documents of rows are. */
    public enum Content {
        /** Each stands for itself. */
        TEXTS,
        /** They come in twos: a prompt with the chosen answer, and the same prompt with the rejected one. */
        PAIRS
    }

    private static final String COUNTS = PackedDatasetWriter.COUNTS;

    private final List<PackedShard> shards;
    private final int vocabulary;
    private final long[] shardStarts;
    private final RowCounts counts;
    private final @Nullable PackedManifest manifest;
    private final Content content;
    private final String fingerprint;

    private PackedDataset(
            List<PackedShard> shards,
            int vocabulary,
            RowCounts counts,
            @Nullable PackedManifest manifest,
            Content content,
            String fingerprint) {
        this.shards = List.copyOf(shards);
        this.vocabulary = vocabulary;
        this.counts = counts;
        this.manifest = manifest;
        this.content = content;
        this.fingerprint = fingerprint;
        this.shardStarts = new long[shards.size()];
        long rows = 0;
        for (int shard = 0; shard < shardStarts.length; shard++) {
            shardStarts[shard] = rows;
            rows += shards.get(shard).rows();
        }
    }

    /** Opens with the Hadoop configuration found on the class path. */
    public static PackedDataset open(String folder, Path scratch) throws IOException {
        return open(folder, scratch, new Configuration());
    }

    /**
     * Opens {@code folder}; lengths and checksums in its manifest are verified.
     *
     * @param folder on local disk, read in place, or on another Hadoop file system, copied into {@code scratch}
     * @throws DataException if it is no folder of packed rows, or a file is missing or damaged
     */
    public static PackedDataset open(String folder, Path scratch, Configuration hadoop) throws IOException {
        return open(folder, scratch, hadoop, Integer.MAX_VALUE);
    }

    /**
     * The same for a model that knows the token ids below {@code vocabulary}: rows with others are refused, at once where all rows
     * are read anyway, else when such a row is.
     */
    public static PackedDataset open(String folder, Path scratch, Configuration hadoop, int vocabulary)
            throws IOException {
        FolderFiles files = FolderFiles.of(folder, scratch, hadoop);
        Optional<byte[]> manifest = files.text(PackedManifest.FILE_NAME);
        List<PackedShard> opened = new ArrayList<>();
        try {
            PackedDataset dataset = manifest.isPresent()
                    ? prepared(
                            files,
                            PackedManifest.parse(manifest.get(), files + "/" + PackedManifest.FILE_NAME),
                            opened,
                            vocabulary)
                    : foreign(files, opened, vocabulary);
            if (dataset.rows() == 0) {
                throw new DataException(files + " holds no row; prepare data that has one");
            }
            return dataset;
        } catch (IOException | RuntimeException e) {
            closeAll(opened, e);
            throw e;
        }
    }

    private static PackedDataset prepared(
            FolderFiles files, PackedManifest manifest, List<PackedShard> opened, int vocabulary) throws IOException {
        Path countsFile = null;
        for (FileEntry entry : manifest.files()) {
            Path local = verified(files, entry);
            countsFile = entry.name().equals(COUNTS) ? local : countsFile;
        }
        for (String shard : manifest.shards()) {
            opened.add(PackedShard.open(files.local(shard)));
        }
        if (countsFile == null) {
            throw new DataException(files + " lists no " + COUNTS + "; prepare the data again");
        }
        RowCounts counts;
        try (DataFile file = DataFile.open(countsFile)) {
            counts = RowCounts.read(file);
        }
        long rows = opened.stream().mapToLong(PackedShard::rows).sum();
        if (rows != manifest.rows() || rows != counts.rows()) {
            throw new DataException("%s holds %d rows, its manifest says %d and %s %d; prepare the data again"
                    .formatted(files, rows, manifest.rows(), COUNTS, counts.rows()));
        }
        return new PackedDataset(opened, vocabulary, counts, manifest, manifest.content(), manifest.checksum());
    }

    private static Path verified(FolderFiles files, FileEntry entry) throws IOException {
        long length = files.length(entry.name());
        if (length != entry.length()) {
            throw new DataException(
                    "%s/%s is damaged at byte %d: it has %d bytes, its manifest says %d; prepare the data again"
                            .formatted(files, entry.name(), Math.min(length, entry.length()), length, entry.length()));
        }
        Path local = files.local(entry.name());
        String checksum = FolderFiles.checksum(local);
        if (!checksum.equals(entry.crc32c()) && files.discardCopy(entry.name())) {
            local = files.local(entry.name());
            checksum = FolderFiles.checksum(local);
        }
        if (!checksum.equals(entry.crc32c())) {
            throw new DataException(
                    "%s/%s is damaged somewhere in its %d bytes: its CRC32C is %s, its manifest says %s; prepare the data again"
                            .formatted(files, entry.name(), length, checksum, entry.crc32c()));
        }
        return local;
    }

    private static PackedDataset foreign(FolderFiles files, List<PackedShard> opened, int vocabulary)
            throws IOException {
        Optional<byte[]> state = files.text(HuggingFaceFiles.STATE);
        if (state.isEmpty()) {
            throw notADataset(files);
        }
        ForeignRows rows = new ForeignRows();
        for (String name : HuggingFaceFiles.shards(state.get(), files + "/" + HuggingFaceFiles.STATE)) {
            PackedShard shard = PackedShard.open(files.local(name));
            opened.add(shard);
            rows.scan(shard, vocabulary);
        }
        Content content = opened.stream().allMatch(PackedShard::holdsPairs) ? Content.PAIRS : Content.TEXTS;
        return new PackedDataset(opened, vocabulary, rows.counts(), null, content, rows.fingerprint());
    }

    private static DataException notADataset(FolderFiles files) throws IOException {
        if (files.text(HuggingFaceFiles.SPLITS).isPresent()) {
            return new DataException(
                    files + " holds several data sets (dataset_dict.json); name one of its subfolders");
        }
        return new DataException(
                "%s holds no packed rows: neither %s nor %s is there; prepare the data first, or name a folder that"
                                .formatted(files, PackedManifest.FILE_NAME, HuggingFaceFiles.STATE)
                        + " datasets.save_to_disk wrote");
    }

    /** Number of rows. */
    public long rows() {
        return counts.rows();
    }

    /**
     * Reads row {@code index}, counted from 0 over all shards.
     *
     * @throws DataException if it is damaged, or holds an id outside of the vocabulary
     */
    public PackedRow row(long index) throws IOException {
        if (index < 0 || index >= rows()) {
            throw new IndexOutOfBoundsException("row %d of %d".formatted(index, rows()));
        }
        int found = Arrays.binarySearch(shardStarts, index);
        int shard = found >= 0 ? found : -found - 2;
        while (index - shardStarts[shard] >= shards.get(shard).rows()) {
            shard++; // an empty shard starts where the next one does
        }
        PackedRow row = shards.get(shard).row(index - shardStarts[shard], vocabulary);
        return manifest != null && manifest.packing().equals(TrainingConfig.Packing.LLAMAFACTORY_MIXED.name())
                ? row.withAttention(PackedRow.Attention.ROW)
                : row;
    }

    /** Tokens in documents of row {@code index}, without reading it. */
    public int rowTokens(long index) {
        return counts.tokens()[(int) index];
    }

    /** Predictions that count of row {@code index}, without reading it. */
    public int rowTrainedTokens(long index) {
        return counts.trained()[(int) index];
    }

    /** Documents of row {@code index}, without reading it. */
    public int rowDocuments(long index) {
        return counts.documents()[(int) index];
    }

    /** Tokens in documents of all rows. */
    public long tokens() {
        return Arrays.stream(counts.tokens()).asLongStream().sum();
    }

    /** Predictions that count of all rows. */
    public long trainedTokens() {
        return Arrays.stream(counts.trained()).asLongStream().sum();
    }

    /** Tokens of the longest row. */
    public int longestRow() {
        return Arrays.stream(counts.tokens()).max().orElse(0);
    }

    /** The manifest; empty for a folder that another program wrote. */
    public Optional<PackedManifest> manifest() {
        return Optional.ofNullable(manifest);
    }

    /** What the documents of its rows are. */
    public Content content() {
        return content;
    }

    /**
     * Refuses rows that hold something else.
     *
     * @throws DataException that says what to do
     */
    public void require(Content wanted) {
        if (content != wanted) {
            throw new DataException(
                    wanted == Content.PAIRS
                            ? "the prepared rows hold texts, but stage dpo needs pairs of answers; prepare a ranking data set again, or use stage: sft"
                            : "the prepared rows hold pairs of answers, which only stage dpo trains on; prepare the data again, or use stage: dpo");
        }
    }

    /** Changes when the rows change; a run resumes only on the same one. */
    public String fingerprint() {
        return fingerprint;
    }

    @Override
    public void close() throws IOException {
        for (PackedShard shard : shards) {
            shard.close();
        }
    }

    private static void closeAll(List<PackedShard> shards, Exception cause) {
        for (PackedShard shard : shards) {
            try {
                shard.close();
            } catch (IOException e) {
                cause.addSuppressed(e);
            }
        }
    }
}
