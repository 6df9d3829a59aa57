package ulysses.driver.packing;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
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
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.PackedRow;

/** Rows, ids and labels are those that LLaMA-Factory 0.9.5 makes. */
@SuppressWarnings("NullAway.Init") // the session is opened before all tests
class PrepareParityTest {
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
        assertThat(prepared.evalSets()).isEmpty();
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
        List<PackedRow> validation =
                PreparationFixture.rows(prepared.evalSets().get(0).folder());
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
        assertThat(prepared.report().orElseThrow().train().packedRowsOtherwise())
                .containsExactly(Map.entry("BEST_FIT", 155L));
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

    static Stream<JsonNode> mixedCases() {
        return ReferenceFiles.lines("templates/packing").stream()
                .filter(line -> !line.path("args").path("neat_packing").asBoolean());
    }

    /** packing: true without neat_packing: the rows of neat packing, positions restart, attention does not. */
    @ParameterizedTest
    @MethodSource("mixedCases")
    void recordedMixedCasesAreEqual(JsonNode recorded) throws IOException {
        PreparedData prepared = prepare(recorded, Map.of("packing_mode", "llamafactory"));

        List<PackedRow> rows = PreparationFixture.rows(prepared.trainPath());
        assertThat(rows).hasSize(recorded.path("expected").size());
        for (int row = 0; row < rows.size(); row++) {
            JsonNode expected = recorded.path("expected").get(row);
            assertThat(rows.get(row).ids()).isEqualTo(Recorded.numbers(expected.path("input_ids")));
            assertThat(rows.get(row).labels()).isEqualTo(Recorded.numbers(expected.path("labels")));
            assertThat(rows.get(row).attention()).isEqualTo(PackedRow.Attention.ROW);
            MicroBatch batch = MicroBatch.of(List.of(rows.get(row)), 1);
            assertThat(batch.positions())
                    .isEqualTo(Arrays.copyOf(Recorded.numbers(expected.path("position_ids")), batch.length()));
            assertThat(batch.documentEnds()).containsExactly(0, batch.length());
        }
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
        return prepare(recorded, Map.of());
    }

    private PreparedData prepare(JsonNode recorded, Map<String, String> more) throws IOException {
        Map<String, String> keys = new HashMap<>(more);
        keys.putAll(Map.of(
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
}
