package ulysses.runtime.data;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.regex.Pattern;
import java.util.zip.CRC32C;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Path;
import ulysses.runtime.data.PackedManifest.FileEntry;

/**
 * Writes a folder of packed rows: shards first, by whoever has the rows, then {@link #commit}. Nothing is renamed; the manifest,
 * written last, makes the folder complete.
 */
public final class PackedDatasetWriter {
    static final String COUNTS = "row_counts.bin";

    private static final Pattern OURS = Pattern.compile(
            "data-[0-9]{5,}-of-[0-9]{5,}.*\\.arrow|row_counts\\.bin|state\\.json|dataset_info\\.json|MANIFEST\\.json");

    private final FileSystem fileSystem;
    private final Path folder;

    /**
     * A shard that lies in the folder.
     *
     * @param name its file name
     * @param written what its writer reported
     */
    public record Shard(String name, PackedShardWriter.Written written) implements Serializable {}

    /**
     * What the manifest says beyond counts.
     *
     * @param cutoffLength tokens a row can hold
     * @param packing how rows were made
     * @param content what documents are
     * @param tokenizerFingerprint of the tokenizer that made the ids
     * @param dataFingerprint of everything that decides about the rows
     */
    public record Origin(
            int cutoffLength,
            String packing,
            PackedDataset.Content content,
            String tokenizerFingerprint,
            String dataFingerprint) {}

    private PackedDatasetWriter(FileSystem fileSystem, Path folder) {
        this.fileSystem = fileSystem;
        this.folder = folder;
    }

    /** Writes into {@code folder} on any Hadoop file system. */
    public static PackedDatasetWriter of(String folder, Configuration hadoop) throws IOException {
        Path path = new Path(folder);
        FileSystem fileSystem = path.getFileSystem(hadoop);
        // Hadoop's own .crc files beside local files would only be noise: the manifest has checksums.
        return new PackedDatasetWriter(fileSystem instanceof LocalFileSystem local ? local.getRaw() : fileSystem, path);
    }

    /** Name of shard {@code index} of {@code count}, as Hugging Face names them. */
    public static String shardName(int index, int count) {
        return "data-%05d-of-%05d.arrow".formatted(index, count);
    }

    /** The same for a task attempt after the first, so that one that is still running can't write into its file. */
    public static String shardName(int index, int count, String attempt) {
        return "data-%05d-of-%05d-%s.arrow".formatted(index, count, attempt);
    }

    /** Opens a new shard, replacing a file of the same name. */
    public PackedShardWriter shard(String name) throws IOException {
        return new PackedShardWriter(fileSystem.create(new Path(folder, name), true));
    }

    /** Removes what an earlier run left, manifest first, so that no reader takes half of it for whole; other files stay. */
    public void clear() throws IOException {
        fileSystem.delete(new Path(folder, PackedManifest.FILE_NAME), false);
        deleteExcept(Set.of());
    }

    private void deleteExcept(Set<String> kept) throws IOException {
        if (!fileSystem.exists(folder)) {
            return;
        }
        for (FileStatus file : fileSystem.listStatus(folder)) {
            String name = file.getPath().getName();
            if (file.isFile() && OURS.matcher(name).matches() && !kept.contains(name)) {
                fileSystem.delete(file.getPath(), false);
            }
        }
    }

    /** Writes counts, the files of Hugging Face, and the manifest; {@code shards} are in order of their rows. */
    public PackedManifest commit(List<Shard> shards, Origin origin) throws IOException {
        List<String> names = shards.stream().map(Shard::name).toList();
        List<FileEntry> files = new ArrayList<>();
        for (Shard shard : shards) {
            files.add(new FileEntry(
                    shard.name(), shard.written().length(), shard.written().checksum()));
        }
        RowCounts counts = RowCounts.concatenate(
                shards.stream().map(shard -> shard.written().counts()).toList());
        ByteArrayOutputStream countBytes = new ByteArrayOutputStream();
        counts.write(countBytes);
        files.add(write(COUNTS, countBytes.toByteArray()));
        files.add(write(HuggingFaceFiles.INFO, HuggingFaceFiles.info()));
        files.add(write(HuggingFaceFiles.STATE, HuggingFaceFiles.state(names, origin.dataFingerprint())));
        PackedManifest manifest = manifest(shards, origin, files, counts);
        byte[] bytes = manifest.toBytes();
        write(PackedManifest.FILE_NAME, bytes);
        Set<String> kept = new HashSet<>(names);
        files.forEach(file -> kept.add(file.name()));
        kept.add(PackedManifest.FILE_NAME);
        deleteExcept(kept); // shards of task attempts that lost
        return PackedManifest.parse(bytes, folder.toString());
    }

    private static PackedManifest manifest(List<Shard> shards, Origin origin, List<FileEntry> files, RowCounts counts) {
        return new PackedManifest(
                PackedManifest.FORMAT,
                PackedManifest.VERSION,
                files,
                shards.stream().map(Shard::name).toList(),
                counts.rows(),
                shards.stream().mapToLong(shard -> shard.written().documents()).sum(),
                Arrays.stream(counts.tokens()).asLongStream().sum(),
                Arrays.stream(counts.trained()).asLongStream().sum(),
                origin.cutoffLength(),
                origin.packing(),
                origin.content(),
                origin.tokenizerFingerprint(),
                origin.dataFingerprint(),
                "");
    }

    private FileEntry write(String name, byte[] bytes) throws IOException {
        try (OutputStream out = fileSystem.create(new Path(folder, name), true)) {
            out.write(bytes);
        }
        CRC32C checksum = new CRC32C();
        checksum.update(bytes);
        return new FileEntry(name, bytes.length, PackedManifest.checksum(checksum.getValue()));
    }
}
