package ulysses.driver.packing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.driver.ReferenceFiles;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.DataException;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.mesh.EvaluationSet;
import ulysses.runtime.weights.StorageException;

@SuppressWarnings("NullAway.Init") // the session is opened before all tests
class PreparedFolderTest {
    private static final Tokenizer LLAMA = ReferenceFiles.tokenizer("small-bpe-llama3");
    private static final Tokenizer QWEN = ReferenceFiles.tokenizer("small-bpe-qwen");

    private static SparkSession spark;

    @TempDir
    private Path folder;

    @BeforeAll
    static void open() {
        spark = PreparationFixture.session("local[2]");
    }

    @AfterAll
    static void close() {
        spark.stop();
    }

    @Test
    void unchangedDataIsReused() throws IOException {
        PreparationFixture fixture = new PreparationFixture(folder).withRecordedData();
        Map<String, String> keys = Map.of("dataset", "identity", "packing", "true");
        PreparedData first = PrepareDataset.prepare(spark, fixture.config(keys), QWEN);

        PreparedData second = PrepareDataset.prepare(spark, fixture.config(keys), QWEN);

        assertThat(first.reused()).isFalse();
        assertThat(second.reused()).isTrue();
        assertThat(second.report()).isEqualTo(first.report());
        assertThat(second.trainPath()).isEqualTo(first.trainPath());
    }

    @Test
    void changedDataSettingsOrWishesArePreparedAgain() throws IOException {
        PreparationFixture fixture = new PreparationFixture(folder).withRecordedData();
        Map<String, String> keys = Map.of("dataset", "identity", "packing", "true");
        PrepareDataset.prepare(spark, fixture.config(keys), QWEN);

        Map<String, String> longer = Map.of("dataset", "identity", "packing", "true", "cutoff_len", "1024");
        assertThat(PrepareDataset.prepare(spark, fixture.config(longer), QWEN).reused())
                .isFalse();
        assertThat(PrepareDataset.prepare(spark, fixture.config(longer), QWEN).reused())
                .isTrue();
        Map<String, String> overwriting = new HashMap<>(longer);
        overwriting.put("overwrite_cache", "true");
        assertThat(PrepareDataset.prepare(spark, fixture.config(overwriting), QWEN)
                        .reused())
                .isFalse();
        Files.writeString(
                folder.resolve("identity.jsonl"),
                Files.readString(folder.resolve("identity.jsonl")) + PrepareDatasetTest.conversation("one", "more")
                        + "\n");
        PreparedData changed = PrepareDataset.prepare(spark, fixture.config(longer), QWEN);
        assertThat(changed.reused()).isFalse();
        assertThat(changed.report().orElseThrow().train().rowsRead()).isEqualTo(92);
        Map<String, String> llama = new HashMap<>(longer);
        llama.put("template", "llama3");
        assertThat(PrepareDataset.prepare(spark, fixture.config(llama), LLAMA).reused())
                .isFalse();
    }

    @Test
    void damagedPreparedDataIsPreparedAgain() throws IOException {
        PreparationFixture fixture = new PreparationFixture(folder).withRecordedData();
        Map<String, String> keys = Map.of("dataset", "identity", "packing", "true");
        PreparedData first = PrepareDataset.prepare(spark, fixture.config(keys), QWEN);
        List<PackedRow> rows = PreparationFixture.rows(first.trainPath());
        Path shard = folder.resolve("out/prepared/train/data-00000-of-00001.arrow");
        byte[] bytes = Files.readAllBytes(shard);
        bytes[bytes.length / 2] ^= 1;
        Files.write(shard, bytes);

        PreparedData second = PrepareDataset.prepare(spark, fixture.config(keys), QWEN);

        assertThat(second.reused()).isFalse();
        assertThat(PreparationFixture.rows(second.trainPath())).isEqualTo(rows);
    }

    @Test
    void foreignFilesInThePreparedFolderStay() throws IOException {
        PreparationFixture fixture = new PreparationFixture(folder).withRecordedData();
        Path mine = folder.resolve("out/prepared/train/notes.txt");
        Files.createDirectories(mine.getParent());
        Files.writeString(mine, "mine");

        PrepareDataset.prepare(spark, fixture.config(Map.of("dataset", "identity")), QWEN);

        assertThat(mine).hasContent("mine");
    }

    @Test
    void tokenizedPathIsWrittenOnceAndThenRead() throws IOException {
        PreparationFixture fixture = new PreparationFixture(folder).withRecordedData();
        String path = folder.resolve("tokenized").toString();
        Map<String, String> keys =
                Map.of("dataset", "identity", "tokenized_path", path, "val_size", "0.1", "eval_strategy", "epoch");
        PreparedData first = PrepareDataset.prepare(spark, fixture.config(keys), QWEN);
        Files.delete(folder.resolve("identity.jsonl"));

        PreparedData second = PrepareDataset.prepare(spark, fixture.config(keys), QWEN);

        assertThat(first.reused()).isFalse();
        assertThat(second).isEqualTo(new PreparedData(first.trainPath(), first.evalSets(), first.report(), true));
        assertThat(first.trainPath()).endsWith("tokenized/train");
    }

    @Test
    void tokenizedPathTakesWhatAnotherProgramSaved() throws IOException {
        PreparationFixture fixture = new PreparationFixture(folder).withRecordedData();
        PreparedData ours = PrepareDataset.prepare(spark, fixture.config(Map.of("dataset", "identity")), QWEN);
        Path single = Files.createDirectory(folder.resolve("single"));
        Path both = Files.createDirectory(folder.resolve("both"));
        for (Path target : List.of(
                single,
                Files.createDirectory(both.resolve("train")),
                Files.createDirectory(both.resolve("validation")),
                Files.createDirectory(both.resolve("validation_poems")))) {
            for (String name : List.of("state.json", "dataset_info.json", "data-00000-of-00001.arrow")) {
                Files.copy(Path.of(java.net.URI.create(ours.trainPath())).resolve(name), target.resolve(name));
            }
        }
        Files.writeString(
                both.resolve("dataset_dict.json"), "{\"splits\": [\"train\", \"validation\", \"validation_poems\"]}");

        PreparedData one = PrepareDataset.prepare(
                spark, fixture.config(Map.of("dataset", "identity", "tokenized_path", single.toString())), QWEN);
        PreparedData two = PrepareDataset.prepare(
                spark, fixture.config(Map.of("dataset", "identity", "tokenized_path", both.toString())), QWEN);

        assertThat(PreparationFixture.rows(one.trainPath())).isEqualTo(PreparationFixture.rows(ours.trainPath()));
        assertThat(one.report()).isEmpty();
        assertThat(two.trainPath()).endsWith("both/train");
        assertThat(two.evalSets()).extracting(EvaluationSet::name).containsExactly("eval", "eval_poems");
        assertThat(two.evalSets().get(1).folder()).endsWith("both/validation_poems");
    }

    @ParameterizedTest(name = "{0}")
    @ValueSource(strings = {"prepared_dir", "tokenized_path", "output_dir"})
    void refusesAFolderThatCannotBeWrittenTo(String key) throws IOException {
        PreparationFixture fixture = new PreparationFixture(folder).withRecordedData();
        Path file = Files.writeString(folder.resolve("file"), "in the way");
        TrainingConfig config = fixture.config(
                Map.of("dataset", "identity", key, file.resolve("rows").toString()));

        assertThatThrownBy(() -> PrepareDataset.prepare(spark, config, QWEN))
                .isInstanceOf(StorageException.class)
                .hasMessageStartingWith(key + ": prepared rows can't be written to file:" + file + "/rows")
                .hasMessageEndingWith("; choose a folder that this user can write to, reachable from every host");
    }

    @Test
    void refusesATokenizedPathThatHoldsSomethingElse() throws IOException {
        PreparationFixture fixture = new PreparationFixture(folder).withRecordedData();

        assertThatThrownBy(() -> PrepareDataset.prepare(
                        spark,
                        fixture.config(Map.of("dataset", "identity", "tokenized_path", folder.toString())),
                        QWEN))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("holds no tokenized data but");
    }
}
