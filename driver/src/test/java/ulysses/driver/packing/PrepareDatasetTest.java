package ulysses.driver.packing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import ulysses.driver.ReferenceFiles;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.data.DataException;
import ulysses.runtime.data.PackedManifest;
import ulysses.runtime.data.PackedRow;

@SuppressWarnings("NullAway.Init") // the session is opened before all tests
class PrepareDatasetTest {
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

    /** data.json of the recorded runs of LLaMA-Factory: rows, and a digest over all ids in order. */
    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "llama3 | identity,alpaca_en_demo | 64 | 512 | 128 | 92c709043750d2d9aa4e3f48fec6f9a3f93a06761bcce8e5ae126d650eaa6af7",
                "qwen | alpaca_en_demo | 128 | 512 | 128 | 256b84a48ce15fa120b744fabfd7cafef0573aa39f126214d2f1bab7072c6ae4"
            })
    void rowsAreThoseOfLlamaFactory(
            String template, String datasets, String maxSamples, String cutoff, int rows, String digest)
            throws IOException {
        PreparedData prepared = PrepareDataset.prepare(
                spark,
                new PreparationFixture(folder)
                        .withRecordedData()
                        .config(Map.of(
                                "template",
                                template,
                                "dataset",
                                datasets,
                                "max_samples",
                                maxSamples,
                                "cutoff_len",
                                cutoff)),
                template.equals("llama3") ? LLAMA : QWEN);

        List<PackedRow> made = PreparationFixture.rows(prepared.trainPath());
        assertThat(made).hasSize(rows);
        assertThat(PreparationFixture.idsDigest(made)).isEqualTo(digest);
        assertThat(prepared.evalPath()).isEmpty();
    }

    @Test
    void validationRowsAreThoseOfLlamaFactory() throws IOException {
        PreparedData prepared = PrepareDataset.prepare(
                spark,
                new PreparationFixture(folder)
                        .withRecordedData()
                        .config(Map.of(
                                "template",
                                "qwen3_nothink",
                                "dataset",
                                "alpaca_en_demo",
                                "max_samples",
                                "160",
                                "cutoff_len",
                                "512",
                                "val_size",
                                "0.1",
                                "eval_strategy",
                                "steps",
                                "eval_steps",
                                "4")),
                QWEN);

        List<PackedRow> train = PreparationFixture.rows(prepared.trainPath());
        List<PackedRow> validation = PreparationFixture.rows(prepared.evalPath().orElseThrow());
        assertThat(train).hasSize(144);
        assertThat(validation).hasSize(16);
        assertThat(PreparationFixture.idsDigest(train))
                .isEqualTo("c843e2e2daabeac7754f096544e7b8baa7afbeb7a73849285cd1e8750ec13d83");
        assertThat(PreparationFixture.idsDigest(validation))
                .isEqualTo("676e24de341975126e5a425f2923f36b3259405734b8ce30b60607ee8f477013");
        assertThat(prepared.report().orElseThrow().train().tokens()).isEqualTo(33340);
    }

    @Test
    void neatRowsOfTheRecordedRunAreThoseOfLlamaFactory() throws IOException {
        PreparedData prepared = PrepareDataset.prepare(
                spark,
                new PreparationFixture(folder)
                        .withRecordedData()
                        .config(Map.of(
                                "template",
                                "llama3",
                                "dataset",
                                "alpaca_en_demo",
                                "max_samples",
                                "160",
                                "cutoff_len",
                                "1024",
                                "neat_packing",
                                "true")),
                LLAMA);

        List<PackedRow> rows = PreparationFixture.rows(prepared.trainPath());
        assertThat(rows).hasSize(38).allMatch(row -> row.length() == 1024);
        assertThat(PreparationFixture.idsDigest(rows))
                .isEqualTo("f79c9e25ef73001904594425a08b9cc896a835cb4ac2c9b0cb8a89157138d319");
        assertThat(prepared.report().orElseThrow().train().packedRowsOtherwise())
                .containsOnlyKeys("NONE", "BEST_FIT");
    }

    @Test
    void blocksOfTheRecordedRunAreThoseOfLlamaFactory() throws IOException {
        PreparedData prepared = PrepareDataset.prepare(
                spark,
                new PreparationFixture(folder)
                        .withRecordedData()
                        .config(Map.of(
                                "stage",
                                "pt",
                                "template",
                                "llama3",
                                "dataset",
                                "c4_demo",
                                "max_samples",
                                "96",
                                "cutoff_len",
                                "512")),
                LLAMA);

        List<PackedRow> rows = PreparationFixture.rows(prepared.trainPath());
        assertThat(rows).hasSize(154);
        assertThat(PreparationFixture.idsDigest(rows))
                .isEqualTo("4020fa6c7016669983cc4689812af6f5293d10a5d7bb750f9d360963f84c3851");
        assertThat(prepared.report().orElseThrow().train().leftOutTokens()).isBetween(1L, 511L);
    }

    static Stream<JsonNode> neatCases() {
        return ReferenceFiles.lines("templates/packing").stream()
                .filter(line -> line.path("args").path("neat_packing").asBoolean());
    }

    @ParameterizedTest
    @MethodSource("neatCases")
    void recordedNeatCasesAreEqual(JsonNode recorded) throws IOException {
        List<PackedRow> expected = new ArrayList<>();
        recorded.path("expected").forEach(row -> expected.add(Recorded.row(row)));

        PreparedData prepared = prepare(recorded);

        assertThat(PreparationFixture.rows(prepared.trainPath())).isEqualTo(expected);
    }

    static Stream<JsonNode> pretrainingCases() {
        return ReferenceFiles.lines("templates/pretrain").stream()
                .filter(line -> line.path("expected").isArray());
    }

    @ParameterizedTest
    @MethodSource("pretrainingCases")
    void recordedPretrainingCasesAreEqual(JsonNode recorded) throws IOException {
        PreparedData prepared = prepare(recorded);

        List<PackedRow> rows = PreparationFixture.rows(prepared.trainPath());
        assertThat(rows).hasSize(recorded.path("expected").size());
        for (int row = 0; row < rows.size(); row++) {
            JsonNode expected = recorded.path("expected").get(row);
            assertThat(rows.get(row).ids()).isEqualTo(Recorded.numbers(expected.path("input_ids")));
            assertThat(rows.get(row).labels()).isEqualTo(Recorded.numbers(expected.path("labels")));
            assertThat(rows.get(row).documentLengths())
                    .containsExactly(rows.get(row).length());
        }
    }

    private PreparedData prepare(JsonNode recorded) throws IOException {
        Map<String, String> keys = new HashMap<>(Map.of(
                "stage",
                recorded.path("stage").asText(),
                "template",
                recorded.path("template").asText(),
                "dataset",
                "mine"));
        recorded.path("args")
                .properties()
                .forEach(arg -> keys.put(arg.getKey(), arg.getValue().asText()));
        return PrepareDataset.prepare(
                spark,
                new PreparationFixture(folder).withCase(recorded).config(keys),
                ReferenceFiles.tokenizer(recorded.path("tokenizer").asText()));
    }

    @Test
    void bestFitFillsRowsOfTheDemoDataTo99Percent() throws IOException {
        PreparedData prepared = PrepareDataset.prepare(
                spark,
                new PreparationFixture(folder)
                        .withDemoData()
                        .config(Map.of("dataset", "identity,alpaca_en_demo", "cutoff_len", "2048", "packing", "true")),
                QWEN);

        PrepareReport.Part report = prepared.report().orElseThrow().train();
        List<PackedRow> rows = PreparationFixture.rows(prepared.trainPath());
        long tokens = rows.stream().mapToLong(PackedRow::tokens).sum();
        assertThat(report.fill()).isGreaterThanOrEqualTo(0.99).isEqualTo(tokens / (2048.0 * rows.size()));
        assertThat(report.tokens()).isEqualTo(tokens);
        assertThat(report.trainedTokens())
                .isEqualTo(rows.stream().mapToLong(PackedRow::trainedTokens).sum());
        assertThat(report.documents()).isEqualTo(1090).isEqualTo(report.rowsKept());
        assertThat(report.packedRows()).isEqualTo(rows.size());
        assertThat(report.packedRowsOtherwise()).containsEntry("NONE", 1090L).containsKey("LLAMAFACTORY_NEAT");
        assertThat(rows).allMatch(row -> row.length() <= 2048 && row.length() == row.tokens());
    }

    @Test
    void longTextsAreSplitAndLoseNothing() throws IOException {
        PreparationFixture fixture = new PreparationFixture(folder).withRecordedData();
        Map<String, String> keys =
                Map.of("stage", "pt", "dataset", "c4_demo", "cutoff_len", "100", "packing_mode", "best_fit");

        PreparedData packed = PrepareDataset.prepare(spark, fixture.config(keys), QWEN);
        PreparedData whole = PrepareDataset.prepare(
                spark,
                fixture.config(Map.of(
                        "stage",
                        "pt",
                        "dataset",
                        "c4_demo",
                        "cutoff_len",
                        "100000",
                        "packing",
                        "false",
                        "prepared_dir",
                        folder.resolve("whole").toString())),
                QWEN);

        List<PackedRow> rows = PreparationFixture.rows(packed.trainPath());
        assertThat(rows).allMatch(row -> row.length() <= 100);
        assertThat(rows.stream()
                        .flatMapToInt(row -> IntStream.of(row.ids()))
                        .sorted()
                        .toArray())
                .isEqualTo(PreparationFixture.rows(whole.trainPath()).stream()
                        .flatMapToInt(row -> IntStream.of(row.ids()))
                        .sorted()
                        .toArray());
        assertThat(packed.report().orElseThrow().train().documents()).isGreaterThan(96);
    }

    @Test
    void droppedRowsAreNamedByReason() throws IOException {
        List<String> rows = new ArrayList<>();
        for (int i = 0; i < 300; i++) {
            rows.add(
                    i % 2 == 0
                            ? conversation("question " + i, "answer")
                            : "{\"instruction\": \"q\", \"input\": \"\", \"output\": null}");
        }
        PreparedData prepared = PrepareDataset.prepare(
                spark, new PreparationFixture(folder).withRows(rows).config(Map.of("dataset", "mine")), QWEN);

        PrepareReport.Part report = prepared.report().orElseThrow().train();
        assertThat(report.rowsRead()).isEqualTo(300);
        assertThat(report.rowsKept()).isEqualTo(150);
        assertThat(report.rowsDropped()).isEqualTo(150);
        assertThat(report.dropped()).hasSize(1);
        PrepareReport.Rows dropped = report.dropped().values().iterator().next();
        assertThat(dropped.count()).isEqualTo(150);
        assertThat(dropped.first()).hasSize(100);
        assertThat(dropped.first().get(1)).isEqualTo(new PrepareReport.Row(3, "mine", 3));
        JsonNode json = PreparationFixture.json(folder.resolve("out/prepared/prepare_report.json"));
        assertThat(json.path("train").path("rowsKept").asLong()).isEqualTo(150);
    }

    @Test
    void truncatedRowsAreCounted() throws IOException {
        List<String> rows = List.of(conversation("q", "a"), conversation("q", "long ".repeat(500)));

        PreparedData prepared = PrepareDataset.prepare(
                spark,
                new PreparationFixture(folder).withRows(rows).config(Map.of("dataset", "mine", "cutoff_len", "64")),
                QWEN);

        PrepareReport.Part report = prepared.report().orElseThrow().train();
        assertThat(report.truncated().first()).containsExactly(new PrepareReport.Row(1, "mine", 1));
        assertThat(report.truncatedTokens()).isPositive();
    }

    @Test
    void refusesDataOfWhichNoRowIsLeft() throws IOException {
        PreparationFixture fixture = new PreparationFixture(folder)
                .withRows(List.of("{\"instruction\": \"q\", \"input\": \"\", \"output\": null}"));

        assertThatThrownBy(() -> PrepareDataset.prepare(spark, fixture.config(Map.of("dataset", "mine")), QWEN))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("no row is left of the 1 that were read")
                .hasMessageContaining("(1: ");
        assertThat(folder.resolve("out/prepared/prepare_report.json")).doesNotExist();
        assertThat(folder.resolve("out/prepared/train/MANIFEST.json")).doesNotExist();
    }

    @Test
    void refusesTextsThatFillNoBlock() throws IOException {
        PreparationFixture fixture = new PreparationFixture(folder).withRecordedData();

        assertThatThrownBy(() -> PrepareDataset.prepare(
                        spark,
                        fixture.config(Map.of("stage", "pt", "dataset", "c4_demo", "cutoff_len", "1000000")),
                        QWEN))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("tokens don't fill one row of cutoff_len");
    }

    @Test
    void malformedRowsStopWithOneClearMessage() throws IOException {
        PreparationFixture fixture =
                new PreparationFixture(folder).withRows(List.of(conversation("q", "a"), "{\"instruction\": \"q\","));

        assertThatThrownBy(() -> PrepareDataset.prepare(spark, fixture.config(Map.of("dataset", "mine")), QWEN))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("mine.jsonl");
        assertThat(folder.resolve("out/prepared/prepare_report.json")).doesNotExist();
    }

    @Test
    void refusesAValidationSetOfAllRows() throws IOException {
        PreparationFixture fixture = new PreparationFixture(folder).withRows(List.of(conversation("q", "a")));

        assertThatThrownBy(() -> PrepareDataset.prepare(
                        spark,
                        fixture.config(Map.of("dataset", "mine", "val_size", "1", "eval_strategy", "epoch")),
                        QWEN))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("val_size 1.0 takes 1 of 1 rows and leaves none to train on");
    }

    @Test
    void evaluationDataSetsGetTheirOwnRows() throws IOException {
        PreparedData prepared = PrepareDataset.prepare(
                spark,
                new PreparationFixture(folder)
                        .withRecordedData()
                        .config(Map.of(
                                "dataset",
                                "alpaca_en_demo",
                                "eval_dataset",
                                "identity",
                                "eval_strategy",
                                "epoch",
                                "packing",
                                "true")),
                QWEN);

        assertThat(prepared.report().orElseThrow().train().rowsRead()).isEqualTo(160);
        PrepareReport.Part eval = prepared.report().orElseThrow().eval();
        assertThat(eval).isNotNull().extracting(PrepareReport.Part::rowsRead).isEqualTo(91L);
        assertThat(PreparationFixture.rows(prepared.evalPath().orElseThrow()).stream()
                        .mapToLong(row -> row.documentLengths().length))
                .satisfies(documents -> assertThat(
                                documents.stream().mapToLong(Long::longValue).sum())
                        .isEqualTo(91));
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
                Files.readString(folder.resolve("identity.jsonl")) + conversation("one", "more") + "\n");
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
        assertThat(second).isEqualTo(new PreparedData(first.trainPath(), first.evalPath(), first.report(), true));
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
                Files.createDirectory(both.resolve("validation")))) {
            for (String name : List.of("state.json", "dataset_info.json", "data-00000-of-00001.arrow")) {
                Files.copy(Path.of(java.net.URI.create(ours.trainPath())).resolve(name), target.resolve(name));
            }
        }
        Files.writeString(both.resolve("dataset_dict.json"), "{\"splits\": [\"train\", \"validation\"]}");

        PreparedData one = PrepareDataset.prepare(
                spark, fixture.config(Map.of("dataset", "identity", "tokenized_path", single.toString())), QWEN);
        PreparedData two = PrepareDataset.prepare(
                spark, fixture.config(Map.of("dataset", "identity", "tokenized_path", both.toString())), QWEN);

        assertThat(PreparationFixture.rows(one.trainPath())).isEqualTo(PreparationFixture.rows(ours.trainPath()));
        assertThat(one.report()).isEmpty();
        assertThat(two.trainPath()).endsWith("both/train");
        assertThat(two.evalPath().orElseThrow()).endsWith("both/validation");
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

    @Test
    void manifestNamesWhatMadeTheRows() throws IOException {
        PreparedData prepared = PrepareDataset.prepare(
                spark,
                new PreparationFixture(folder)
                        .withRecordedData()
                        .config(Map.of("dataset", "identity", "packing", "true", "cutoff_len", "1024")),
                QWEN);

        PackedManifest manifest = PackedManifest.read(prepared.trainPath(), new org.apache.hadoop.conf.Configuration())
                .orElseThrow();
        assertThat(manifest.packing()).isEqualTo("BEST_FIT");
        assertThat(manifest.cutoffLength()).isEqualTo(1024);
        assertThat(manifest.tokenizerFingerprint()).isEqualTo(QWEN.fingerprint());
        assertThat(manifest.dataFingerprint())
                .isEqualTo(prepared.report().orElseThrow().dataFingerprint());
    }

    static String conversation(String instruction, String output) {
        return "{\"instruction\": \"%s\", \"input\": \"\", \"output\": \"%s\"}".formatted(instruction, output);
    }
}
