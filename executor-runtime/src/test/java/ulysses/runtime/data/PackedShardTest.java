package ulysses.runtime.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PackedShardTest {
    @TempDir
    private Path directory;

    @Test
    void givesBackWhatWasWritten() throws IOException {
        List<PackedRow> rows = randomRows(2500, 40);

        Path file = write(rows);

        try (PackedShard shard = PackedShard.open(file)) {
            assertThat(shard.rows()).isEqualTo(2500);
            for (int index : List.of(2499, 0, 999, 1000, 1001, 1999, 2000, 17)) {
                assertThat(shard.row(index)).isEqualTo(rows.get(index));
            }
        }
    }

    @Test
    void keepsPaddingBehindTheLastDocument() throws IOException {
        PackedRow row = new PackedRow(new int[] {1, 2, 3, 0, 0}, new int[] {-100, 2, 3, -100, -100}, new int[] {1, 2});

        Path file = write(List.of(row));

        try (PackedShard shard = PackedShard.open(file)) {
            assertThat(shard.row(0)).isEqualTo(row);
        }
    }

    @Test
    void readsRowsLongerThanABatch() throws IOException {
        int length = (1 << 22) + 3;
        int[] ids = new int[length];
        java.util.Arrays.setAll(ids, t -> t);
        PackedRow row = new PackedRow(ids, ids.clone(), new int[] {length});

        Path file = write(List.of(row, randomRows(1, 5).get(0)));

        try (PackedShard shard = PackedShard.open(file)) {
            assertThat(shard.row(0)).isEqualTo(row);
            assertThat(shard.row(1)).isEqualTo(randomRows(1, 5).get(0));
        }
    }

    @Test
    void readsAFileWithoutRows() throws IOException {
        try (PackedShard shard = PackedShard.open(write(List.of()))) {
            assertThat(shard.rows()).isZero();
        }
    }

    @Test
    void sameRowsGiveTheSameBytes() throws IOException {
        assertThat(bytes(randomRows(50, 30))).isEqualTo(bytes(randomRows(50, 30)));
    }

    @Test
    void writerCountsWhatItWrote() throws IOException {
        PackedRow row = new PackedRow(new int[] {1, 2, 3, 0}, new int[] {1, 2, 3, -100}, new int[] {1, 2});
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        PackedShardWriter.Written written;

        try (PackedShardWriter writer = new PackedShardWriter(out)) {
            writer.add(row);
            written = writer.finish();
        }

        assertThat(written.length()).isEqualTo(out.size());
        assertThat(written.documents()).isEqualTo(2);
        assertThat(written.counts().tokens()).containsExactly(3);
        assertThat(written.counts().trained()).containsExactly(1);
        Path file = Files.write(directory.resolve("counted"), out.toByteArray());
        assertThat(written.checksum()).isEqualTo(FolderFiles.checksum(file));
    }

    @Test
    void refusesRowsWithoutDocuments() throws IOException {
        try (PackedShardWriter writer = new PackedShardWriter(new ByteArrayOutputStream())) {
            assertThatThrownBy(() -> writer.add(new PackedRow(new int[3], new int[3], new int[0])))
                    .hasMessage("a row without documents; every row needs a token");
        }
    }

    @Test
    void everyCutIsReportedWithFileAndOffset() throws IOException {
        byte[] whole = bytes(randomRows(1003, 3));
        for (int length = 0; length < whole.length; length += length < 2000 || length > whole.length - 200 ? 1 : 97) {
            Path file = Files.write(directory.resolve("cut"), java.util.Arrays.copyOf(whole, length));

            assertThatThrownBy(() -> PackedShard.open(file).close())
                    .as("cut to %d bytes", length)
                    .isInstanceOf(DataException.class)
                    .hasMessageContaining(file.toString())
                    .hasMessageContaining("damaged at byte");
        }
    }

    @Test
    void anyFlippedBitGivesRowsOrADataException() throws IOException {
        byte[] whole = bytes(randomRows(4, 6));
        int refused = 0;
        for (int bit = 0; bit < whole.length * 8; bit++) {
            byte[] flipped = whole.clone();
            flipped[bit / 8] ^= (byte) (1 << bit % 8);
            refused += readsAll(Files.write(directory.resolve("flipped"), flipped)) ? 0 : 1;
        }
        assertThat(refused).isGreaterThan(whole.length / 4);
    }

    @Test
    void randomBytesGiveADataException() throws IOException {
        Random random = new Random(7);
        for (int i = 0; i < 300; i++) {
            byte[] noise = new byte[random.nextInt(400)];
            random.nextBytes(noise);
            if (noise.length > 7 && i % 2 == 0) { // a plausible prefix in front of noise
                System.arraycopy(new byte[] {-1, -1, -1, -1, 64, 0, 0, 0}, 0, noise, 0, 8);
            }
            Path file = Files.write(directory.resolve("noise"), noise);

            assertThatThrownBy(() -> PackedShard.open(file).close()).isInstanceOf(DataException.class);
        }
    }

    @Test
    void tellsAnArrowFileFromAStream() throws IOException {
        Path file = Files.write(
                directory.resolve("file.arrow"), "ARROW1\0\0 and so on".getBytes(StandardCharsets.US_ASCII));

        assertThatThrownBy(() -> PackedShard.open(file).close())
                .isInstanceOf(DataException.class)
                .hasMessageContaining("it is an Arrow file, not an Arrow stream");
    }

    @Test
    void namesTheColumnsOfAFileThatHoldsNoRows() throws IOException {
        byte[] schema = ArrowMessages.schema(List.of("input_ids", "other"));
        byte[] batch = ArrowMessages.recordBatch(0, new long[] {0, 0});
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(schema);
        out.writeBytes(batch);
        out.writeBytes(new byte[16]);
        out.writeBytes(ArrowMessages.end());
        Path file = Files.write(directory.resolve("other.arrow"), out.toByteArray());

        assertThatThrownBy(() -> PackedShard.open(file).close())
                .isInstanceOf(DataException.class)
                .hasMessageContaining("it needs a column labels of integer lists; its columns are [input_ids, other]");
    }

    @Test
    void readsPairsAsLlamaFactoryTokenizesThem() throws IOException {
        int[][] columns = {{1, 5, 6}, {-100, 5, 6}, {1, 7}, {-100, 7}};
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        out.writeBytes(ArrowMessages.schema(
                List.of("chosen_input_ids", "chosen_labels", "rejected_input_ids", "rejected_labels")));
        out.writeBytes(ArrowMessages.recordBatch(1, new long[] {3, 3, 2, 2}));
        for (int[] column : columns) {
            ByteBuffer bytes =
                    ByteBuffer.allocate(8 + (column.length + 1) / 2 * 8).order(ByteOrder.LITTLE_ENDIAN);
            bytes.putInt(0).putInt(column.length);
            bytes.asIntBuffer().put(column);
            out.writeBytes(bytes.array());
        }
        out.writeBytes(ArrowMessages.end());
        Path file = Files.write(directory.resolve("pairs.arrow"), out.toByteArray());

        try (PackedShard shard = PackedShard.open(file)) {
            assertThat(shard.holdsPairs()).isTrue();
            assertThat(shard.row(0))
                    .isEqualTo(new PackedRow(
                            new int[] {1, 5, 6, 1, 7}, new int[] {-100, 5, 6, -100, 7}, new int[] {3, 2}));
        }
    }

    private static boolean readsAll(Path file) throws IOException {
        try (PackedShard shard = PackedShard.open(file)) {
            for (long index = 0; index < Math.min(shard.rows(), 100); index++) {
                shard.row(index);
            }
            return true;
        } catch (DataException e) {
            assertThat(e).hasMessageContaining(file.toString());
            return false;
        }
    }

    static List<PackedRow> randomRows(int count, int longest) {
        Random random = new Random(42);
        List<PackedRow> rows = new ArrayList<>();
        for (int row = 0; row < count; row++) {
            int[] lengths = random.ints(1 + random.nextInt(3), 1, longest + 1).toArray();
            int tokens = java.util.Arrays.stream(lengths).sum();
            int[] ids = random.ints(tokens, 0, 50_000).toArray();
            int[] labels = java.util.Arrays.stream(ids)
                    .map(id -> random.nextInt(3) == 0 ? PackedRow.IGNORE_INDEX : id)
                    .toArray();
            rows.add(new PackedRow(ids, labels, lengths));
        }
        return rows;
    }

    private Path write(List<PackedRow> rows) throws IOException {
        return Files.write(directory.resolve("data.arrow"), bytes(rows));
    }

    private static byte[] bytes(List<PackedRow> rows) throws IOException {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        try (PackedShardWriter writer = new PackedShardWriter(out)) {
            for (PackedRow row : rows) {
                writer.add(row);
            }
            writer.finish();
        }
        return out.toByteArray();
    }
}
