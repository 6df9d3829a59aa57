package ulysses.runtime.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import java.io.IOException;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.regex.Pattern;
import java.util.zip.CRC32C;
import org.apache.hadoop.conf.Configuration;

/**
 * What a prepared folder holds; written last, so that a folder with a manifest is complete.
 *
 * @param format always {@link #FORMAT}
 * @param version of the layout
 * @param files every other file of the folder
 * @param shards names of the row files, in order of their rows
 * @param rows packed rows
 * @param documents texts in them
 * @param tokens tokens in documents
 * @param trainedTokens predictions that count
 * @param cutoffLength tokens a row can hold
 * @param packing how rows were made
 * @param content what documents are: texts, or pairs of a chosen and a rejected answer
 * @param tokenizerFingerprint of the tokenizer that made the ids
 * @param dataFingerprint of everything that decides about the rows
 * @param checksum CRC32C over this manifest with this component empty
 */
public record PackedManifest(
        String format,
        int version,
        List<FileEntry> files,
        List<String> shards,
        long rows,
        long documents,
        long tokens,
        long trainedTokens,
        int cutoffLength,
        String packing,
        PackedDataset.Content content,
        String tokenizerFingerprint,
        String dataFingerprint,
        String checksum) {

    /** Name of the manifest in its folder. */
    public static final String FILE_NAME = "MANIFEST.json";

    static final String FORMAT = "ulysses-packed-rows";
    static final int VERSION = 2;

    private static final Pattern PLAIN_NAME = Pattern.compile("[A-Za-z0-9_][A-Za-z0-9._-]*");
    private static final ObjectMapper JSON = new ObjectMapper().enable(SerializationFeature.INDENT_OUTPUT);

    /**
     * A file of the folder.
     *
     * @param name without any folder
     * @param length bytes
     * @param crc32c checksum, see {@link #checksum(long)}
     */
    public record FileEntry(String name, long length, String crc32c) implements Serializable {

        /** What is wrong with this file in {@code folder}; reads all of it. */
        public Optional<String> problem(String folder, Configuration hadoop) throws IOException {
            return FolderFiles.of(folder, Path.of(""), hadoop).problem(this);
        }
    }

    /** Reads the manifest of {@code folder}, if it has one. */
    public static Optional<PackedManifest> read(String folder, Configuration hadoop) throws IOException {
        return FolderFiles.of(folder, Path.of(""), hadoop)
                .text(FILE_NAME)
                .map(bytes -> parse(bytes, folder + "/" + FILE_NAME));
    }

    public PackedManifest {
        files = List.copyOf(files);
        shards = List.copyOf(shards);
    }

    /** How a CRC32C is spelled in manifests: 8 hexadecimal digits. */
    public static String checksum(long crc32c) {
        return "%08x".formatted(crc32c);
    }

    /** Refuses names that could lead out of the folder they stand for. */
    static String plainName(String name, String source) {
        if (!PLAIN_NAME.matcher(name).matches()) {
            throw new DataException("%s names the file \"%s\"; only plain file names inside its folder are read"
                    .formatted(source, name));
        }
        return name;
    }

    /** This manifest with its checksum filled in, as bytes of its file. */
    byte[] toBytes() {
        try {
            PackedManifest sealed = withChecksum(contentChecksum());
            return (JSON.writeValueAsString(sealed) + "\n").getBytes(StandardCharsets.UTF_8);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a record of strings and numbers can't be written as JSON", e);
        }
    }

    /**
     * Reads a manifest.
     *
     * @param source where the bytes come from, for messages
     * @throws DataException if it is of another kind, too new or damaged
     */
    static PackedManifest parse(byte[] bytes, String source) {
        PackedManifest manifest;
        try {
            JsonNode tree = JSON.readTree(bytes);
            if (!FORMAT.equals(tree.path("format").asText())) {
                throw new DataException("%s is no manifest of packed rows: format is %s, not \"%s\""
                        .formatted(source, tree.path("format"), FORMAT));
            }
            if (tree.path("version").asInt() != VERSION) {
                throw new DataException("%s has version %s; this release reads %d; prepare the data again"
                        .formatted(source, tree.path("version"), VERSION));
            }
            manifest = JSON.treeToValue(tree, PackedManifest.class);
        } catch (IOException | IllegalArgumentException | NullPointerException e) {
            throw new DataException(source + " is damaged: it is no complete JSON manifest; prepare the data again", e);
        }
        if (!Arrays.equals(manifest.toBytes(), bytes)) {
            throw new DataException(source + " is damaged: its checksum does not fit; prepare the data again");
        }
        manifest.checkNames(source);
        return manifest;
    }

    private void checkNames(String source) {
        List<String> names =
                files.stream().map(file -> plainName(file.name(), source)).toList();
        for (String shard : shards) {
            if (!names.contains(shard)) {
                throw new DataException(source + " lists the shard " + shard + " but no such file");
            }
        }
    }

    private String contentChecksum() {
        try {
            CRC32C crc = new CRC32C();
            crc.update(JSON.writeValueAsBytes(withChecksum("")));
            return checksum(crc.getValue());
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a record of strings and numbers can't be written as JSON", e);
        }
    }

    private PackedManifest withChecksum(String value) {
        return new PackedManifest(
                format,
                version,
                files,
                shards,
                rows,
                documents,
                tokens,
                trainedTokens,
                cutoffLength,
                packing,
                content,
                tokenizerFingerprint,
                dataFingerprint,
                value);
    }
}
