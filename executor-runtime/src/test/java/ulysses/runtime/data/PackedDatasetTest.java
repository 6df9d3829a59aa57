package ulysses.runtime.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class PackedDatasetTest {
    private static final Configuration LOCAL = new Configuration(false);
    private static final List<PackedRow> ROWS = PackedShardTest.randomRows(25, 12);

    @TempDir
    private Path temporary;

    private Path folder = Path.of("");
    private Path scratch = Path.of("");

    @BeforeEach
    void writeDataset() throws IOException {
        folder = temporary.resolve("train");
        scratch = temporary.resolve("scratch");
        write(folder, List.of(ROWS.subList(0, 10), List.of(), ROWS.subList(10, 25)));
    }

    @Test
    void givesRowsOfAllShardsInOrder() throws IOException {
        try (PackedDataset dataset = PackedDataset.open(folder.toString(), scratch, LOCAL)) {
            assertThat(dataset.rows()).isEqualTo(25);
            for (int row : List.of(24, 0, 9, 10, 3)) {
                assertThat(dataset.row(row)).isEqualTo(ROWS.get(row));
                assertThat(dataset.rowTokens(row)).isEqualTo(ROWS.get(row).tokens());
                assertThat(dataset.rowTrainedTokens(row))
                        .isEqualTo(ROWS.get(row).trainedTokens());
            }
            assertThat(dataset.tokens())
                    .isEqualTo(ROWS.stream().mapToLong(PackedRow::tokens).sum());
            assertThat(dataset.manifest().orElseThrow().packing()).isEqualTo("BEST_FIT");
            assertThat(dataset.manifest().orElseThrow().cutoffLength()).isEqualTo(36);
        }
    }

    @Test
    void sameRowsGiveTheSameFolder() throws IOException {
        Path other = temporary.resolve("other");
        write(other, List.of(ROWS.subList(0, 10), List.of(), ROWS.subList(10, 25)));

        try (Stream<Path> files = Files.list(folder)) {
            for (Path file : files.toList()) {
                assertThat(other.resolve(file.getFileName())).hasSameBinaryContentAs(file);
            }
        }
    }

    @Test
    void readsOtherFileSystemsThroughACopy() throws IOException {
        Configuration hadoop = new Configuration();
        hadoop.set("fs.elsewhere.impl", Elsewhere.class.getName());

        for (int open = 0; open < 2; open++) {
            try (PackedDataset dataset = PackedDataset.open("elsewhere://" + folder, scratch, hadoop)) {
                assertThat(dataset.row(24)).isEqualTo(ROWS.get(24));
            }
        }

        assertThat(scratch)
                .isDirectoryContaining(path -> path.getFileName().toString().startsWith("rows-"));
    }

    @Test
    void replacesADamagedCopy() throws IOException {
        Configuration hadoop = new Configuration();
        hadoop.set("fs.elsewhere.impl", Elsewhere.class.getName());
        PackedDataset.open("elsewhere://" + folder, scratch, hadoop).close();
        try (Stream<Path> copies = Files.walk(scratch)) {
            for (Path copy :
                    copies.filter(path -> path.toString().endsWith(".arrow")).toList()) {
                flip(copy, 100);
            }
        }

        try (PackedDataset dataset = PackedDataset.open("elsewhere://" + folder, scratch, hadoop)) {
            assertThat(dataset.row(24)).isEqualTo(ROWS.get(24));
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "data-00000-of-00003.arrow",
                "data-00002-of-00003.arrow",
                "row_counts.bin",
                "state.json",
                "dataset_info.json",
                "MANIFEST.json"
            })
    void refusesAnyChangedFile(String name) throws IOException {
        Path file = folder.resolve(name);
        byte[] whole = Files.readAllBytes(file);
        for (int at = 0; at < whole.length; at += Math.max(whole.length / 50, 1)) {
            flip(file, at);
            assertThatThrownBy(() -> PackedDataset.open(folder.toString(), scratch, LOCAL)
                            .close())
                    .as("byte %d", at)
                    .isInstanceOf(DataException.class)
                    .hasMessageContaining(name);
            Files.write(file, whole);

            Files.write(file, java.util.Arrays.copyOf(whole, at));
            assertThatThrownBy(() -> PackedDataset.open(folder.toString(), scratch, LOCAL)
                            .close())
                    .as("cut to %d", at)
                    .isInstanceOf(DataException.class)
                    .hasMessageContaining(name);
            Files.write(file, whole);
        }
    }

    @Test
    void refusesAMissingFile() throws IOException {
        Files.delete(folder.resolve("data-00000-of-00003.arrow"));

        assertThatThrownBy(() ->
                        PackedDataset.open(folder.toString(), scratch, LOCAL).close())
                .isInstanceOf(DataException.class)
                .hasMessageContaining("data-00000-of-00003.arrow is missing");
    }

    @Test
    void refusesAFolderOfSomethingElse() {
        assertThatThrownBy(() ->
                        PackedDataset.open(temporary.toString(), scratch, LOCAL).close())
                .isInstanceOf(DataException.class)
                .hasMessageContaining("holds no packed rows: neither MANIFEST.json nor state.json is there");
    }

    @Test
    void textsAreNoPairs() throws IOException {
        try (PackedDataset dataset = PackedDataset.open(folder.toString(), scratch, LOCAL)) {
            dataset.require(PackedDataset.Content.TEXTS);

            assertThatThrownBy(() -> dataset.require(PackedDataset.Content.PAIRS))
                    .isInstanceOf(DataException.class)
                    .hasMessage(
                            "the prepared rows hold texts, but stage dpo needs pairs of answers; prepare a ranking data set again, or use stage: sft");
        }
    }

    @Test
    void tellsWrongKindAndTooNewManifestsApart() throws IOException {
        Path manifest = folder.resolve("MANIFEST.json");
        String text = Files.readString(manifest);

        Files.writeString(manifest, text.replace("\"version\" : 2", "\"version\" : 3"));
        assertThatThrownBy(() ->
                        PackedDataset.open(folder.toString(), scratch, LOCAL).close())
                .isInstanceOf(DataException.class)
                .hasMessageContaining("has version 3; this release reads 2");

        Files.writeString(manifest, text.replace("ulysses-packed-rows", "checkpoint"));
        assertThatThrownBy(() ->
                        PackedDataset.open(folder.toString(), scratch, LOCAL).close())
                .isInstanceOf(DataException.class)
                .hasMessageContaining("is no manifest of packed rows");
    }

    @ParameterizedTest
    @ValueSource(strings = {"../secret", "/etc/passwd", "a/b", "..", "", ".hidden"})
    void refusesNamesThatLeadOutOfTheFolder(String name) throws IOException {
        PackedManifest manifest;
        try (PackedDataset dataset = PackedDataset.open(folder.toString(), scratch, LOCAL)) {
            manifest = dataset.manifest().orElseThrow();
        }
        PackedManifest leading = new PackedManifest(
                manifest.format(),
                manifest.version(),
                List.of(new PackedManifest.FileEntry(name, 1, "00000000")),
                List.of(),
                25,
                25,
                1,
                1,
                36,
                "NONE",
                PackedDataset.Content.TEXTS,
                "",
                "",
                "");
        Files.write(folder.resolve("MANIFEST.json"), leading.toBytes());

        assertThatThrownBy(() ->
                        PackedDataset.open(folder.toString(), scratch, LOCAL).close())
                .isInstanceOf(DataException.class)
                .hasMessageContaining("names the file \"" + name + "\"");
    }

    @Test
    void readsMaskedRowsOfAnotherProgram() throws IOException {
        try (PackedDataset dataset = PackedDataset.open(foreign("foreign-masked"), scratch, LOCAL)) {
            assertThat(dataset.rows()).isEqualTo(3);
            assertThat(dataset.row(0))
                    .isEqualTo(new PackedRow(new int[] {5, 6, 7, 8, 9}, new int[] {-100, 6, 7, 8, 9}, new int[] {5}));
            assertThat(dataset.row(1))
                    .isEqualTo(new PackedRow(new int[] {11, 12, 13}, new int[] {-100, 12, 13}, new int[] {3}));
            assertThat(dataset.row(2).documentLengths()).containsExactly(8);
            assertThat(dataset.rowTrainedTokens(0)).isEqualTo(4);
            assertThat(dataset.manifest()).isEmpty();
        }
    }

    @Test
    void readsDocumentNumbersOfAnotherProgram() throws IOException {
        try (PackedDataset dataset = PackedDataset.open(foreign("foreign-numbered"), scratch, LOCAL)) {
            assertThat(dataset.row(0).documentLengths()).containsExactly(3, 2);
            assertThat(dataset.row(0).labels()).containsExactly(-100, 6, 7, 8, 9);
            assertThat(dataset.row(1).documentLengths()).containsExactly(3);
            assertThat(dataset.row(2).documentLengths()).containsExactly(4, 2, 2);
            assertThat(dataset.rowTrainedTokens(0)).isEqualTo(3);
        }
    }

    @Test
    void readsPositionsInLargeListsOfAnotherProgram() throws IOException {
        try (PackedDataset dataset = PackedDataset.open(foreign("foreign-positions"), scratch, LOCAL)) {
            assertThat(dataset.row(0).documentLengths()).containsExactly(3, 2, 3);
            assertThat(dataset.row(2).documentLengths()).containsExactly(8);
            assertThat(dataset.row(2).ids()).containsExactly(21, 22, 23, 24, 25, 26, 27, 28);
        }
    }

    @Test
    void readsListsOfEqualLengthOfAnotherProgram() throws IOException {
        try (PackedDataset dataset = PackedDataset.open(foreign("foreign-fixed"), scratch, LOCAL)) {
            assertThat(dataset.row(0))
                    .isEqualTo(new PackedRow(new int[] {1, 2, 3, 4}, new int[] {-100, 2, 3, 4}, new int[] {3, 1}));
            assertThat(dataset.row(1).labels()).containsExactly(5, 6, 7, 8);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"foreign-masked", "foreign-numbered", "foreign-positions", "foreign-fixed"})
    void anyFlippedBitOfAnotherProgramGivesRowsOrADataException(String name) throws IOException {
        Path copy = temporary.resolve(name);
        Files.createDirectory(copy);
        try (Stream<Path> files = Files.list(Path.of(foreign(name)))) {
            for (Path file : files.toList()) {
                Files.copy(file, copy.resolve(file.getFileName()));
            }
        }
        Path first =
                copy.resolve(name.equals("foreign-masked") ? "data-00000-of-00002.arrow" : "data-00000-of-00001.arrow");
        byte[] whole = Files.readAllBytes(first);
        for (int bit = 0; bit < whole.length * 8; bit += 11) {
            byte[] flipped = whole.clone();
            flipped[bit / 8] ^= (byte) (1 << bit % 8);
            Files.write(first, flipped);
            try (PackedDataset dataset = PackedDataset.open(copy.toString(), scratch, LOCAL)) {
                assertThat(dataset.rows()).isPositive();
            } catch (DataException e) {
                assertThat(e).hasMessageContaining(copy.toString());
            }
        }
    }

    private static String foreign(String name) {
        URI uri = URI.create(PackedDatasetTest.class.getResource(name).toString());
        return Path.of(uri).toString();
    }

    private static void flip(Path file, int at) throws IOException {
        byte[] bytes = Files.readAllBytes(file);
        bytes[at] ^= 1;
        Files.write(file, bytes);
    }

    static void write(Path folder, List<List<PackedRow>> shards) throws IOException {
        PackedDatasetWriter writer = PackedDatasetWriter.of(folder.toString(), LOCAL);
        List<PackedDatasetWriter.Shard> written = new java.util.ArrayList<>();
        for (int shard = 0; shard < shards.size(); shard++) {
            String name = PackedDatasetWriter.shardName(shard, shards.size());
            try (PackedShardWriter out = writer.shard(name)) {
                for (PackedRow row : shards.get(shard)) {
                    out.add(row);
                }
                written.add(new PackedDatasetWriter.Shard(name, out.finish()));
            }
        }
        writer.commit(
                written,
                new PackedDatasetWriter.Origin(36, "BEST_FIT", PackedDataset.Content.TEXTS, "tokenizer", "data"));
    }

    /** Local files under another scheme: a file system that can't be read in place. */
    public static final class Elsewhere extends RawLocalFileSystem {
        @Override
        public URI getUri() {
            return URI.create("elsewhere:///");
        }
    }
}
