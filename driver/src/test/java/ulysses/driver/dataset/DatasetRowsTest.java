package ulysses.driver.dataset;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.arrow.memory.RootAllocator;
import org.apache.arrow.vector.VarCharVector;
import org.apache.arrow.vector.VectorSchemaRoot;
import org.apache.arrow.vector.ipc.ArrowFileWriter;
import org.apache.arrow.vector.ipc.ArrowStreamWriter;
import org.apache.arrow.vector.ipc.ArrowWriter;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.StructType;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.driver.ReferenceFiles;
import ulysses.driver.dataset.Example.Conversation;
import ulysses.driver.dataset.Example.Message;
import ulysses.driver.dataset.Example.Role;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.DataException;

@SuppressWarnings("NullAway.Init") // the session is opened before all tests, the folder before each
class DatasetRowsTest {

    private static SparkSession session;
    private static JavaSparkContext spark;

    @TempDir
    private Path folder;

    @BeforeAll
    static void open() {
        session = SparkSession.builder()
                .master("local[2]")
                .appName("dataset rows")
                .config("spark.ui.enabled", "false")
                .config("spark.sql.shuffle.partitions", "2")
                .getOrCreate();
        spark = new JavaSparkContext(session.sparkContext());
    }

    @AfterAll
    static void close() {
        session.stop();
    }

    private List<SourceRow> rows(Map<String, String> entries, TrainingConfig.Data data) throws IOException {
        String info = entries.entrySet().stream()
                .map(entry -> "\"%s\": %s".formatted(entry.getKey(), entry.getValue()))
                .collect(Collectors.joining(",", "{", "}"));
        Files.writeString(folder.resolve("dataset_info.json"), info);
        DatasetRegistry registry = DatasetRegistry.open(folder.toString(), spark.hadoopConfiguration());
        DatasetRows.Mixed mixed = DatasetRows.read(spark, registry, data.dataset(), data, DatasetRows.Seeds.of(42));
        List<SourceRow> rows = mixed.rows().collect().stream()
                .sorted(Comparator.comparingLong(SourceRow::rowNumber))
                .toList();
        assertThat(rows).hasSize((int) mixed.count());
        return rows;
    }

    private List<SourceRow> rows(String entry) throws IOException {
        return rows(Map.of("mine", entry), data(List.of("mine"), 0, "concat"));
    }

    private List<Example> examples(String entry) throws IOException {
        List<SourceRow> rows = rows(entry);
        assertThat(rows.stream().map(SourceRow::rowNumber))
                .isEqualTo(
                        IntStream.range(0, rows.size()).mapToObj(Long::valueOf).toList());
        return rows.stream().map(SourceRow::example).toList();
    }

    private static TrainingConfig.Data data(List<String> names, int maxSamples, String mixStrategy) {
        return new TrainingConfig.Data(
                names,
                List.of(),
                false,
                "data",
                "qwen",
                null,
                null,
                2048,
                false,
                false,
                TrainingConfig.Packing.NONE,
                maxSamples,
                null,
                true,
                false,
                false,
                false,
                mixStrategy,
                List.of(),
                1000,
                0,
                false,
                null,
                null,
                "01 Jan 2026");
    }

    private void write(String name, String text) throws IOException {
        Files.writeString(folder.resolve(name), text);
    }

    private static Example asked(String question, String answer) {
        return new Conversation(List.of(new Message(Role.USER, question), new Message(Role.ASSISTANT, answer)), "", "");
    }

    /** The rows that each kind of file holds below. */
    private static final List<Example> THREE =
            List.of(asked("one\nfirst, \"quoted\"", "1"), asked("two", "line\nbreak"), asked("drei 中文 😀", "3"));

    @Test
    void readsAJsonArray() throws IOException {
        write("rows.json", """
                 [
                  {"instruction": "one", "input": "first, \\"quoted\\"", "output": "1"},
                  {"instruction": "two", "input": "", "output": "line\\nbreak"}
                  ,
                  {"instruction": "drei \\u4e2d文 \\ud83d\\ude00", "input": null, "output": "3"}
                 ]
                """);

        assertThat(examples("{\"file_name\": \"rows.json\"}")).isEqualTo(THREE);
    }

    @ParameterizedTest
    @ValueSource(strings = {"rows.json", "rows.jsonl"})
    void readsJsonLines(String name) throws IOException {
        write(name, """
                \uFEFF{"instruction": "one", "input": "first, \\"quoted\\"", "output": "1"}

                {"instruction": "two", "output": "line\\nbreak"}\r
                   {"instruction": "drei 中文 😀", "input": "", "output": "3"}""");

        assertThat(examples("{\"file_name\": \"%s\"}".formatted(name))).isEqualTo(THREE);
    }

    @Test
    void readsCsv() throws IOException {
        write(
                "rows.csv",
                "instruction,input,output\r\none,\"first, \"\"quoted\"\"\",1\r\ntwo,,\"line\nbreak\"\r\ndrei 中文 😀,\"\",3\r\n");

        assertThat(examples("{\"file_name\": \"rows.csv\"}")).isEqualTo(THREE);
    }

    @Test
    void keepsWhatLooksLikeACommentInCsv() throws IOException {
        write("rows.csv", "\uFEFFtext\n#1 comes first\n\" spaces \"\n");

        assertThat(examples("{\"file_name\": \"rows.csv\", \"columns\": {\"prompt\": \"text\"}}"))
                .isEqualTo(List.of(new Example.PlainText("#1 comes first"), new Example.PlainText(" spaces ")));
    }

    @Test
    void readsParquet() throws IOException {
        StructType schema = new StructType()
                .add("instruction", "string")
                .add("input", "string")
                .add("output", "string");
        session.createDataFrame(
                        List.of(
                                RowFactory.create("one", "first, \"quoted\"", "1"),
                                RowFactory.create("two", null, "line\nbreak"),
                                RowFactory.create("drei 中文 😀", "", "3")),
                        schema)
                .coalesce(1)
                .write()
                .parquet(folder.resolve("table").toString());

        assertThat(examples("{\"file_name\": \"table\"}")).isEqualTo(THREE);
    }

    @Test
    void readsNestedColumnsOfParquet() throws IOException {
        session.sql(
                        "select array(named_struct('from', 'human', 'value', 'Hi'), named_struct('from', 'gpt', 'value', 'Ho'))"
                                + " as conversations")
                .write()
                .parquet(folder.resolve("table").toString());

        assertThat(examples("{\"file_name\": \"table\", \"formatting\": \"sharegpt\"}"))
                .isEqualTo(List.of(asked("Hi", "Ho")));
    }

    @Test
    void readsParquetFilesOfOneSchemaAsOneTableInTheOrderOfTheirNames() throws IOException {
        Path table = Files.createDirectory(folder.resolve("table"));
        for (int i = 0; i < 5; i++) {
            Files.copy(
                    parquet("select 'Hi %d' as instruction, 'Ho' as output".formatted(i)),
                    table.resolve("part %d [50%%25].parquet".formatted(i)));
        }
        Files.copy(parquet("select 'Ho' as output, 'Hi 5' as instruction, 7 as more"), table.resolve("rest.parquet"));
        write("dataset_info.json", "{\"mine\": {\"file_name\": \"table\"}}");
        DatasetRegistry registry = DatasetRegistry.open(folder.toString(), spark.hadoopConfiguration());

        NumberedRows rows =
                NumberedRows.read(spark, SourceFile.of(registry.entry("mine"), spark.hadoopConfiguration()));

        assertThat(rows.count()).isEqualTo(6);
        assertThat(rows.rows().collect()).hasSize(6).allSatisfy(row -> {
            assertThat(row.value().path("instruction").asText()).isEqualTo("Hi " + row.fileRow());
            assertThat(row.place())
                    .endsWith(
                            row.fileRow() < 5
                                    ? "/part %d [50%%25].parquet row 1".formatted(row.fileRow())
                                    : "/rest.parquet row 1");
        });
        assertThat(rows.rows().rdd().dependencies().size()).isEqualTo(2); // tables, however many files
    }

    /** A file with what {@code query} gives. */
    private Path parquet(String query) throws IOException {
        Path written = Files.createTempDirectory(folder, "written").resolve("table");
        session.sql(query).coalesce(1).write().parquet(written.toString());
        try (Stream<Path> files = Files.list(written)) {
            return files.filter(path -> path.toString().endsWith(".parquet"))
                    .findFirst()
                    .orElseThrow();
        }
    }

    @Test
    void refusesParquetWithADamagedPageAndNamesItsFile() throws IOException {
        Path one = parquet("select 'Hi' as instruction, 'Ho' as output");
        Path table = Files.createDirectory(folder.resolve("table"));
        Files.copy(one, table.resolve("a.parquet"));
        Files.copy(one, table.resolve("c.parquet"));
        byte[] bytes = Files.readAllBytes(one);
        Arrays.fill(bytes, 4, 20, (byte) 0xff); // the header of the first page; all is well up to the footer
        Files.write(table.resolve("b.parquet"), bytes);

        assertThat(refusal("{\"file_name\": \"table\"}"))
                .startsWith("DIR/table/b.parquet can't be read as Parquet: ")
                .endsWith("; write it again, or give it the ending of what it is");
    }

    /** Arrow would make room for a text of 2 GB before it looks. */
    @Test
    void refusesAnArrowTextOutsideOfTheFile() throws IOException {
        Path file = folder.resolve("rows.arrow");
        ReadFile.writeArrow(file, "instruction", List.of("Hello", "", "Rain in Ulm"));
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
        int offsets = 0;
        while (bytes.getInt(offsets) != 0 || bytes.getInt(offsets + 4) != 5 || bytes.getInt(offsets + 12) != 16) {
            offsets++;
        }
        Files.write(file, bytes.putInt(offsets, Integer.MIN_VALUE + 16).array());

        assertThat(refusal("{\"file_name\": \"rows.arrow\"}"))
                .isEqualTo(
                        "DIR/rows.arrow can't be read as Arrow: a value of column instruction begins at byte -2147483632 of"
                                + " 16; write it again, or give it the ending of what it is");
    }

    @ParameterizedTest
    @ValueSource(booleans = {true, false})
    void readsArrow(boolean stream) throws IOException {
        try (RootAllocator allocator = new RootAllocator();
                VarCharVector instruction = new VarCharVector("instruction", allocator);
                VarCharVector input = new VarCharVector("input", allocator);
                VarCharVector output = new VarCharVector("output", allocator);
                VectorSchemaRoot batch = VectorSchemaRoot.of(instruction, input, output);
                OutputStream out = Files.newOutputStream(folder.resolve("rows.arrow"));
                ArrowWriter writer = stream
                        ? new ArrowStreamWriter(batch, null, out)
                        : new ArrowFileWriter(batch, null, Channels.newChannel(out))) {
            writer.start();
            set(instruction, 0, "one");
            set(input, 0, "first, \"quoted\"");
            set(output, 0, "1");
            set(instruction, 1, "two");
            input.setNull(1);
            set(output, 1, "line\nbreak");
            batch.setRowCount(2);
            writer.writeBatch();
            set(instruction, 0, "drei 中文 😀");
            set(input, 0, "");
            set(output, 0, "3");
            batch.setRowCount(1);
            writer.writeBatch();
            writer.end();
        }

        assertThat(examples("{\"file_name\": \"rows.arrow\"}")).isEqualTo(THREE);
    }

    private static void set(VarCharVector vector, int index, String text) {
        vector.setSafe(index, text.getBytes(StandardCharsets.UTF_8));
    }

    @Test
    void takesEveryLineOfATextAsADocument() throws IOException {
        write("rows.txt", "first\n\n third \r\nfourth\rfifth");

        assertThat(examples("{\"file_name\": \"rows.txt\", \"columns\": {\"prompt\": \"text\"}}"))
                .isEqualTo(List.of(
                        new Example.PlainText("first"),
                        new Example.PlainText(""),
                        new Example.PlainText(" third "),
                        new Example.PlainText("fourth"),
                        new Example.PlainText("fifth")));
    }

    @Test
    void readsAFolderInTheOrderOfNames() throws IOException {
        Files.createDirectory(folder.resolve("many"));
        write("many/b.jsonl", "{\"text\": \"3\"}\n");
        write("many/a.json", "[{\"text\": \"1\"}, {\"text\": \"2\"}]");
        write("many/_SUCCESS", "");

        assertThat(examples("{\"file_name\": \"many\", \"columns\": {\"prompt\": \"text\"}}"))
                .isEqualTo(List.of(new Example.PlainText("1"), new Example.PlainText("2"), new Example.PlainText("3")));
    }

    @ParameterizedTest
    @ValueSource(longs = {1, 7, 64, 1000, 1 << 20})
    void numbersRowsTheSameHoweverFilesAreCut(long part) throws IOException {
        StringBuilder lines = new StringBuilder();
        StringBuilder array = new StringBuilder("[");
        for (int i = 0; i < 200; i++) {
            String row =
                    "{\"text\": \"row %d %s\", \"list\": [1, {\"a\": \"]},[\"}]}".formatted(i, "é\\\"".repeat(i % 7));
            lines.append(row).append(i % 3 == 0 ? "\r\n" : "\n").append(i % 5 == 0 ? "\n" : "");
            array.append(i == 0 ? "" : i % 2 == 0 ? ",\n" : " ,").append(row);
        }
        write("rows.jsonl", lines.toString());
        write("rows.json", array.append("\n]\n").toString());

        for (String name : List.of("rows.jsonl", "rows.json")) {
            Path file = folder.resolve(name);
            SourceFile source = new SourceFile(file.toString(), FileType.JSON, Files.size(file));
            NumberedRows rows = LineFiles.read(spark, List.of(source), Math.max(part, Files.size(file) / 100));
            List<RawRow> read = rows.rows().collect();
            assertThat(rows.count()).isEqualTo(200);
            for (int i = 0; i < 200; i++) {
                assertThat(read.get(i).fileRow()).isEqualTo(i);
                assertThat(read.get(i).value().get("text").textValue()).startsWith("row " + i + " ");
            }
        }
    }

    @ParameterizedTest
    @ValueSource(longs = {10, 20, 5, 9, 11})
    void givesALineAtTheEdgeOfAPartToOneOfThem(long part) throws IOException {
        write(
                "rows.txt",
                IntStream.range(0, 30).mapToObj("line %04d\n"::formatted).collect(Collectors.joining()));
        SourceFile source = new SourceFile(folder.resolve("rows.txt").toString(), FileType.TEXT, 300);

        List<RawRow> read = LineFiles.read(spark, List.of(source), part).rows().collect();

        assertThat(read.stream().map(row -> row.value().get("text").textValue()))
                .isEqualTo(
                        IntStream.range(0, 30).mapToObj("line %04d"::formatted).toList());
        assertThat(read.stream().map(RawRow::place)).first().asString().endsWith("rows.txt line 1");
        assertThat(read.get(29).place()).endsWith("rows.txt line 30");
    }

    @Test
    void readsRecordedRowsAsTheyWereRecorded() throws IOException {
        for (JsonNode recorded : ReferenceFiles.lines("templates/qwen")) {
            if (recorded.get("case").textValue().matches(".*/(openai.*|tools-quirks|quirks|broken-rows|alpaca.*)")) {
                write("rows.json", recorded.get("rows").toString());

                assertThat(examples(recorded.get("dataset_entry").toString()))
                        .as("%s", recorded.get("case"))
                        .isEqualTo(RecordedRows.examples(recorded));
            }
        }
    }

    @Test
    void takesTheFirstRowsOfEachDatasetAndMixes() throws IOException {
        write("a.txt", "a0\na1\na2\na3");
        write("b.txt", "b0\nb1\nb2");
        Map<String, String> entries = Map.of(
                "a", "{\"file_name\": \"a.txt\", \"columns\": {\"prompt\": \"text\"}}",
                "b", "{\"file_name\": \"b.txt\", \"columns\": {\"prompt\": \"text\"}}");

        assertThat(texts(rows(entries, data(List.of("b", "a"), 2, "concat")))).isEqualTo("b0 b1 a0 a1");
        assertThat(texts(rows(entries, data(List.of("a", "b"), 0, "interleave_over"))))
                .isEqualTo("a0 b0 a1 b1 a2 b2 a3 b0");
    }

    private static String texts(List<SourceRow> rows) {
        return rows.stream()
                .map(row -> ((Example.PlainText) row.example()).text())
                .collect(Collectors.joining(" "));
    }

    @Test
    void drawsSamplesWithRepetition() throws IOException {
        write("a.txt", "a0\na1\na2");
        Map<String, String> entries =
                Map.of("a", "{\"file_name\": \"a.txt\", \"columns\": {\"prompt\": \"text\"}, \"num_samples\": 7}");

        List<SourceRow> rows = rows(entries, data(List.of("a"), 0, "concat"));

        assertThat(rows).hasSize(7);
        assertThat(rows.subList(0, 3).stream().map(SourceRow::fileRow)).containsExactlyInAnyOrder(0L, 1L, 2L);
        assertThat(rows(entries, data(List.of("a"), 0, "concat"))).isEqualTo(rows);
        assertThat(rows(entries, data(List.of("a"), 2, "concat"))).isEqualTo(rows.subList(0, 2));
    }

    private @Nullable String refusal(String entry) throws IOException {
        try {
            rows(entry);
            return null;
        } catch (IOException unexpected) {
            throw unexpected;
        } catch (Exception failure) {
            return DatasetRows.dataException(failure)
                    .map(DataException::getMessage)
                    .orElse("not a DataException: " + failure)
                    .replace("file:", "")
                    .replace(folder.toString(), "DIR");
        }
    }

    @Test
    void namesTheLineThatIsNotJson() throws IOException {
        write("rows.jsonl", "{\"text\": \"good\"}\n\n{\"text\": bad}\n{\"text\": \"good\"}\n");

        assertThat(refusal("{\"file_name\": \"rows.jsonl\", \"columns\": {\"prompt\": \"text\"}}"))
                .startsWith("DIR/rows.jsonl line 3 is not valid JSON: Unrecognized token 'bad'")
                .endsWith("; write one object a line, or one array in the file");
    }

    @Test
    void namesTheLineOfADamagedElement() throws IOException {
        write("rows.json", "[\n {\"text\": \"good\"},\n\n {\"text\": bad}\n]");

        assertThat(refusal("{\"file_name\": \"rows.json\", \"columns\": {\"prompt\": \"text\"}}"))
                .startsWith("DIR/rows.json line 4 is not valid JSON: Unrecognized token 'bad'");
    }

    @Test
    void saysThatAnArrayIsCutOff() throws IOException {
        write("rows.json", "[{\"text\": \"good\"},\n {\"text\": \"cut o");

        assertThat(refusal("{\"file_name\": \"rows.json\", \"columns\": {\"prompt\": \"text\"}}"))
                .isEqualTo(
                        "DIR/rows.json ends in the middle of the array, at line 2 behind 1 rows; the file is cut off");
    }

    @Test
    void saysThatTextFollowsTheArray() throws IOException {
        write("rows.json", "[{\"text\": \"good\"}]\n[{\"text\": \"more\"}]");

        assertThat(refusal("{\"file_name\": \"rows.json\", \"columns\": {\"prompt\": \"text\"}}"))
                .isEqualTo("DIR/rows.json line 2: text follows the end of the array; keep one array in a file");
    }

    @Test
    void refusesARowThatIsNoObject() throws IOException {
        write("rows.json", "[{\"text\": \"good\"}, 17]");
        write("rows.jsonl", "{\"text\": \"good\"}\n[1]");

        assertThat(refusal("{\"file_name\": \"rows.json\", \"columns\": {\"prompt\": \"text\"}}"))
                .isEqualTo("DIR/rows.json line 1 is not a JSON object but 17; write an array of objects");
        assertThat(refusal("{\"file_name\": \"rows.jsonl\", \"columns\": {\"prompt\": \"text\"}}"))
                .isEqualTo("DIR/rows.jsonl line 2 is not a JSON object but [1]; write one object a line");
    }

    @Test
    void refusesBytesThatAreNoText() throws IOException {
        Files.write(folder.resolve("rows.txt"), new byte[] {'a', '\n', (byte) 0xC3, '(', '\n'});

        Files.write(folder.resolve("rows.csv"), new byte[] {'t', 'e', 'x', 't', '\n', (byte) 0xC3, '(', '\n'});

        assertThat(refusal("{\"file_name\": \"rows.txt\", \"columns\": {\"prompt\": \"text\"}}"))
                .isEqualTo("DIR/rows.txt line 2 is not UTF-8; convert the file");
        assertThat(refusal("{\"file_name\": \"rows.csv\", \"columns\": {\"prompt\": \"text\"}}"))
                .isEqualTo("DIR/rows.csv is not UTF-8; convert the file");
    }

    @Test
    void namesTheColumnsThatAreThere() throws IOException {
        write("rows.json", "[{\"question\": \"q\", \"answer\": \"a\"}]");

        assertThat(refusal("{\"file_name\": \"rows.json\"}"))
                .isEqualTo(
                        "dataset mine: DIR/rows.json has no column input, instruction, output; it has answer, question; "
                                + "name its columns in dataset_info.json");
    }

    @Test
    void namesTheRowWithAValueOfTheWrongKind() throws IOException {
        write("rows.jsonl", "{\"text\": \"good\"}\n{\"text\": 17}");

        assertThat(refusal("{\"file_name\": \"rows.jsonl\", \"columns\": {\"prompt\": \"text\"}}"))
                .isEqualTo("dataset mine, DIR/rows.jsonl line 2: column text is not text but 17; write it in quotes");
    }

    /** num_samples and max_samples count in the part. */
    @Test
    void aSplitMayBeAPartOfTheFile() throws IOException {
        write(
                "rows.jsonl",
                IntStream.range(0, 10)
                        .mapToObj("{\"text\": \"row %d\"}"::formatted)
                        .collect(Collectors.joining("\n")));
        String columns = "\"columns\": {\"prompt\": \"text\"}";
        String entry = "{\"file_name\": \"rows.jsonl\", \"split\": \"%s\", \"num_samples\": %d, " + columns + "}";
        String part = "{\"file_name\": \"rows.jsonl\", \"split\": \"train[4:70%]\", " + columns + "}";

        assertThat(rows(part).stream().map(SourceRow::fileRow)).containsExactly(4L, 5L, 6L);
        assertThat(rows(Map.of("mine", part), data(List.of("mine"), 2, "concat")).stream()
                        .map(SourceRow::fileRow))
                .containsExactly(4L, 5L);
        assertThat(rows(entry.formatted("train[-3:]", 5)).stream().map(SourceRow::fileRow))
                .hasSize(5)
                .contains(7L, 8L, 9L)
                .allMatch(row -> row >= 7);
        assertThat(refusal(entry.formatted("train[10:]", 0)))
                .isEqualTo("dataset mine: split train[10:] holds none of the 10 rows of DIR/rows.jsonl; widen it");
        assertThat(refusal(entry.formatted("test", 0)))
                .isEqualTo(
                        "dataset mine asks for split test, but a file has only train; use train, or a part of it such as"
                                + " train[:100] or train[10%:20%]");
    }

    @Test
    void refusesFilesThatAreNotThereOrUnknown() throws IOException {
        write("rows.xlsx", "");
        write("empty.jsonl", "\n");

        assertThat(refusal("{\"file_name\": \"none.json\"}"))
                .isEqualTo("dataset mine: file DIR/none.json is not there; correct file_name in dataset_info.json, or "
                        + "dataset_dir");
        assertThat(refusal("{\"file_name\": \"rows.xlsx\"}"))
                .isEqualTo(
                        "dataset mine: DIR/rows.xlsx has no known ending; use .json, .jsonl, .csv, .parquet, .arrow or .txt");
        assertThat(refusal("{\"file_name\": \"empty.jsonl\"}"))
                .isEqualTo("dataset mine has no rows: DIR/empty.jsonl is empty");
        assertThat(refusal("{\"hf_hub_url\": \"me/mine\"}"))
                .isEqualTo(
                        "dataset mine comes from a hub (hf_hub_url me/mine); download it and name the file with file_name "
                                + "instead");
        assertThat(refusal("{\"file_name\": \"rows.json\", \"formatting\": \"chat\"}"))
                .isEqualTo("dataset mine has formatting chat; use alpaca, sharegpt or openai");
    }

    @Test
    void refusesACsvRowWithTooManyValues() throws IOException {
        write("rows.csv", "text\ngood\nbad, row\n");

        assertThat(refusal("{\"file_name\": \"rows.csv\", \"columns\": {\"prompt\": \"text\"}}"))
                .isEqualTo(
                        "DIR/rows.csv row 2 has 2 values but the header names 1 columns; put values that hold commas in "
                                + "quotes");
    }

    @Test
    void aFileNameMayHaveTheDateOfTheRun() throws IOException {
        write("dataset_info.json", "{\"daily\": {\"file_name\": \"day={date}/rows.jsonl\"}}");

        DatasetRegistry dated =
                DatasetRegistry.open(folder.toString(), Optional.of("2026-02-28"), spark.hadoopConfiguration());

        assertThat(dated.entry("daily").path()).endsWith("/day=2026-02-28/rows.jsonl");
        assertThatThrownBy(() -> DatasetRegistry.open(folder.toString(), spark.hadoopConfiguration())
                        .entry("daily"))
                .hasMessage(
                        "dataset daily: file_name day={date}/rows.jsonl names {date}, but the run has no date; add --date 2026-11-26");
    }

    @Test
    void namesTheNearestDataset() throws IOException {
        write(
                "dataset_info.json",
                "{\"alpaca_en_demo\": {\"file_name\": \"a.json\"}, \"identity\": {\"file_name\": \"b.json\"}}");
        DatasetRegistry registry = DatasetRegistry.open(folder.toString(), spark.hadoopConfiguration());

        assertThatThrownBy(() -> registry.require(List.of("identiti"), DatasetRegistry.Kind.TEXTS))
                .isInstanceOf(DataException.class)
                .hasMessage("dataset identiti is not in %s/dataset_info.json; did you mean identity?", folder);
    }

    @Test
    void refusesARankingOutsidePreferenceTraining() throws IOException {
        write("dataset_info.json", "{\"pairs\": {\"file_name\": \"a.json\", \"ranking\": true}}");
        DatasetRegistry registry = DatasetRegistry.open(folder.toString(), spark.hadoopConfiguration());

        assertThatThrownBy(() -> registry.require(List.of("pairs"), DatasetRegistry.Kind.TEXTS))
                .isInstanceOf(DataException.class)
                .hasMessageContaining("dataset pairs is a ranking (\"ranking\": true), which only stage dpo trains on");
    }

    @Test
    void refusesAFolderWithoutDatasetInfo() {
        assertThatThrownBy(() -> DatasetRegistry.open(folder.toString(), spark.hadoopConfiguration()))
                .isInstanceOf(DataException.class)
                .hasMessage("%s/dataset_info.json is not there; set dataset_dir to the folder that holds it", folder);
    }
}
