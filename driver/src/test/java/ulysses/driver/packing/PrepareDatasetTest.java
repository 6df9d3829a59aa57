package ulysses.driver.packing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.driver.ReferenceFiles;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.data.DataException;
import ulysses.runtime.data.PackedDataset;
import ulysses.runtime.data.PackedManifest;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.mesh.EvaluationSet;

@SuppressWarnings("NullAway.Init") // the session is opened before all tests
class PrepareDatasetTest {
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
    void pairsStayInOneRowAndLoseNothing() throws IOException {
        PreparationFixture fixture = new PreparationFixture(folder).withPairs(pairs(400));

        PreparedData packed = PrepareDataset.prepare(spark, fixture.config(pairKeys("true", "packed")), QWEN);
        PreparedData single = PrepareDataset.prepare(spark, fixture.config(pairKeys("false", "single")), QWEN);

        List<PackedRow> rows = PreparationFixture.rows(packed.trainPath());
        List<PackedRow> one = PreparationFixture.rows(single.trainPath());
        assertThat(one).hasSize(400).allMatch(row -> row.documentLengths().length == 2);
        assertThat(rows).hasSizeLessThan(100).allMatch(row -> row.documentLengths().length % 2 == 0);
        assertThat(rows).allMatch(row -> row.length() <= 2 * 256);
        assertThat(rows.stream().flatMap(PrepareDatasetTest::pairsOf).sorted().toList())
                .isEqualTo(one.stream()
                        .flatMap(PrepareDatasetTest::pairsOf)
                        .sorted()
                        .toList());
        PrepareReport.Part report = packed.report().orElseThrow().train();
        assertThat(report.rowsKept()).isEqualTo(400);
        assertThat(report.documents()).isEqualTo(800);
        assertThat(report.fill()).isGreaterThan(0.9);
        assertThat(report.packedRowsOtherwise()).containsOnlyKeys("NONE");
        assertThat(PackedManifest.read(packed.trainPath(), new Configuration())
                        .orElseThrow()
                        .content())
                .isEqualTo(PackedDataset.Content.PAIRS);
    }

    @Test
    void eachAnswerOfAPairIsCutToCutoffLen() throws IOException {
        String text = "word ".repeat(500);
        PreparedData prepared = PrepareDataset.prepare(
                spark,
                new PreparationFixture(folder)
                        .withPairs(List.of(pair("question", text, text + text)))
                        .config(pairKeys("true", "cut")),
                QWEN);

        PackedRow row = PreparationFixture.rows(prepared.trainPath()).get(0);
        assertThat(row.documentLengths()).containsExactly(256, 256);
        assertThat(prepared.report().orElseThrow().train().truncated().count()).isEqualTo(1);
    }

    @Test
    void evaluationRowsOfPairsAreHeldBack() throws IOException {
        Map<String, String> keys = new HashMap<>(pairKeys("true", "split"));
        keys.put("val_size", "0.1");

        PreparedData prepared = PrepareDataset.prepare(
                spark, new PreparationFixture(folder).withPairs(pairs(50)).config(keys), QWEN);

        PrepareReport report = prepared.report().orElseThrow();
        assertThat(report.train().rowsKept()).isEqualTo(45);
        assertThat(report.eval().values().iterator().next().rowsKept()).isEqualTo(5);
    }

    @Test
    void stageAndRankingHaveToFit() throws IOException {
        PreparationFixture pairs = new PreparationFixture(folder).withPairs(pairs(3));
        assertThatThrownBy(() -> PrepareDataset.prepare(spark, pairs.config(Map.of("dataset", "mine")), QWEN))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("dataset mine is a ranking (\"ranking\": true), which only stage dpo trains on");

        PreparationFixture texts = new PreparationFixture(folder).withRows(List.of(conversation("q", "a")));
        assertThatThrownBy(() ->
                        PrepareDataset.prepare(spark, texts.config(Map.of("stage", "dpo", "dataset", "mine")), QWEN))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("dataset mine is no ranking, which stage dpo needs");
    }

    private Map<String, String> pairKeys(String packing, String name) {
        return Map.of(
                "stage",
                "dpo",
                "dataset",
                "mine",
                "cutoff_len",
                "256",
                "packing",
                packing,
                "output_dir",
                folder.resolve(name).toString());
    }

    private static List<String> pairs(int count) {
        List<String> pairs = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            pairs.add(pair("question " + i, "good ".repeat(1 + i % 7), "bad ".repeat(1 + i * 3 % 11)));
        }
        return pairs;
    }

    private static String pair(String question, String chosen, String rejected) {
        return "{\"instruction\": \"%s\", \"input\": \"\", \"chosen\": \"%s\", \"rejected\": \"%s\"}"
                .formatted(question, chosen.strip(), rejected.strip());
    }

    /** Ids of each pair of a row, with a mark between its answers. */
    private static Stream<String> pairsOf(PackedRow row) {
        List<String> pairs = new ArrayList<>();
        int start = 0;
        for (int document = 0; document < row.documentLengths().length; document += 2) {
            int middle = start + row.documentLengths()[document];
            int end = middle + row.documentLengths()[document + 1];
            pairs.add(Arrays.toString(Arrays.copyOfRange(row.ids(), start, middle)) + "|"
                    + Arrays.toString(Arrays.copyOfRange(row.labels(), middle, end)));
            start = end;
        }
        return pairs.stream();
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
        assertThat(prepared.report().orElseThrow().eval())
                .containsOnlyKeys("eval")
                .extractingByKey("eval")
                .extracting(PrepareReport.Part::rowsRead)
                .isEqualTo(91L);
        assertThat(documents(prepared.evalSets().get(0))).isEqualTo(91);
    }

    @Test
    void eachEvaluationDataSetGetsRowsOfItsOwn() throws IOException {
        PreparedData prepared = PrepareDataset.prepare(
                spark,
                new PreparationFixture(folder)
                        .withRecordedData()
                        .config(Map.of(
                                "dataset",
                                "identity",
                                "eval_dataset",
                                "identity,alpaca_en_demo",
                                "eval_on_each_dataset",
                                "true",
                                "max_samples",
                                "20")),
                QWEN);

        assertThat(prepared.evalSets())
                .extracting(EvaluationSet::name)
                .containsExactly("eval_identity", "eval_alpaca_en_demo");
        assertThat(prepared.evalSets()).allSatisfy(set -> {
            assertThat(set.folder()).endsWith("/prepared/" + set.name());
            assertThat(documents(set)).isEqualTo(20);
        });
        assertThat(prepared.report().orElseThrow().eval().keySet())
                .containsExactly("eval_identity", "eval_alpaca_en_demo");
    }

    private static long documents(EvaluationSet set) throws IOException {
        return PreparationFixture.rows(set.folder()).stream()
                .mapToLong(row -> row.documentLengths().length)
                .sum();
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
