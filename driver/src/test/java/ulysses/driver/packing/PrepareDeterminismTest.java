package ulysses.driver.packing;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.hadoop.fs.FSDataOutputStream;
import org.apache.hadoop.fs.RawLocalFileSystem;
import org.apache.hadoop.util.Progressable;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.driver.ReferenceFiles;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.data.PackedRow;

/** What is prepared depends on data and settings only. */
class PrepareDeterminismTest {
    private static final Tokenizer QWEN = ReferenceFiles.tokenizer("small-bpe-qwen");
    private static final int ROWS = 21_000; // two buckets of best fit

    @TempDir
    private Path folder;

    @Test
    void bytesDoNotDependOnExecutorsOrPartitions() throws IOException {
        assertSameBytes(fixture(ROWS), Map.of("packing", "true"), "data-00001-of-00002.arrow");
    }

    @Test
    void bytesOfOrderedRowsDoNotDependOnExecutorsOrPartitions() throws IOException {
        assertSameBytes(fixture(2500), Map.of("neat_packing", "true"), "data-00001-of-00002.arrow");
        assertSameBytes(
                fixture(2500), Map.of("val_size", "0.1", "eval_strategy", "epoch"), "data-00001-of-00002.arrow");
    }

    private void assertSameBytes(PreparationFixture fixture, Map<String, String> packing, String shard)
            throws IOException {
        Map<String, byte[]> one = prepared(fixture, "local[1]", packing, 1);
        Map<String, byte[]> three = prepared(fixture, "local[3]", packing, 7);

        assertThat(three.keySet()).isEqualTo(one.keySet()).contains("train/" + shard, "prepare_report.json");
        one.forEach((name, bytes) -> assertThat(three.get(name)).as(name).isEqualTo(bytes));
    }

    @Test
    void rowsDoNotDependOnRetries() throws IOException {
        PreparationFixture fixture = fixture(ROWS);
        Map<String, String> keys = Map.of("dataset", "mine", "packing", "true", "cutoff_len", "256");
        List<PackedRow> undisturbed;
        try (SparkSession spark = PreparationFixture.session("local[2]")) {
            undisturbed = PreparationFixture.rows(
                    PrepareDataset.prepare(spark, fixture.config(keys), QWEN).trainPath());
        }

        try (SparkSession spark = PreparationFixture.session("local[2,3]")) {
            spark.sparkContext().hadoopConfiguration().set("fs.flaky.impl", FailsOnce.class.getName());
            Map<String, String> flaky = new HashMap<>(keys);
            flaky.put("prepared_dir", "flaky://" + folder.resolve("flaky"));
            PrepareDataset.prepare(spark, fixture.config(flaky), QWEN);
        }

        assertThat(FailsOnce.FAILURES).hasValue(1);
        assertThat(PreparationFixture.rows(folder.resolve("flaky/train").toString()))
                .isEqualTo(undisturbed);
        assertThat(names(folder.resolve("flaky/train")))
                .contains("data-00000-of-00002.arrow", "data-00001-of-00002-s0a1.arrow")
                .doesNotContain("data-00001-of-00002.arrow");
    }

    private PreparationFixture fixture(int rows) throws IOException {
        return new PreparationFixture(folder)
                .withRows(IntStream.range(0, rows)
                        .mapToObj(i -> PrepareDatasetTest.conversation("question " + i, "yes ".repeat(i % 17 + 1)))
                        .toList());
    }

    private Map<String, byte[]> prepared(
            PreparationFixture fixture, String master, Map<String, String> packing, int workers) throws IOException {
        Path target = folder.resolve("prepared-" + master);
        Map<String, String> keys = new HashMap<>(packing);
        keys.putAll(Map.of("dataset", "mine", "cutoff_len", "256", "prepared_dir", target.toString()));
        keys.put("preprocessing_num_workers", String.valueOf(workers));
        keys.put("overwrite_cache", "true");
        try (SparkSession spark = PreparationFixture.session(master)) {
            PrepareDataset.prepare(spark, fixture.config(keys), QWEN);
        }
        Map<String, byte[]> files = new TreeMap<>();
        try (Stream<Path> found = Files.walk(target)) {
            for (Path file : found.filter(Files::isRegularFile).toList()) {
                files.put(target.relativize(file).toString(), Files.readAllBytes(file));
            }
        }
        return files;
    }

    private static List<String> names(Path directory) throws IOException {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString()).toList();
        }
    }

    /** Local files under a scheme of their own; closing the second shard fails the first time. */
    public static final class FailsOnce extends RawLocalFileSystem {
        private static final AtomicInteger FAILURES = new AtomicInteger();

        @Override
        public URI getUri() {
            return URI.create("flaky:///");
        }

        @Override
        public FSDataOutputStream create(
                org.apache.hadoop.fs.Path path,
                boolean overwrite,
                int bufferSize,
                short replication,
                long blockSize,
                Progressable progress)
                throws IOException {
            if (path.getName().equals("data-00001-of-00002.arrow") && FAILURES.incrementAndGet() == 1) {
                super.create(path, overwrite, bufferSize, replication, blockSize, progress)
                        .close();
                throw new IOException("the disk hiccuped");
            }
            return super.create(path, overwrite, bufferSize, replication, blockSize, progress);
        }
    }
}
