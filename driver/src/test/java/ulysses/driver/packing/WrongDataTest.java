package ulysses.driver.packing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.Stream;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import ulysses.driver.ReferenceFiles;
import ulysses.runtime.data.DataException;

/** The cases of wrong-data.txt, each with its exact message: the entry, the file or a row of it can't be used. */
@SuppressWarnings("NullAway.Init") // the session is opened before all tests, the folder before each
class WrongDataTest {
    private static SparkSession spark;

    @TempDir
    private Path folder;

    @BeforeAll
    static void open() {
        spark = PreparationFixture.session("local[1]");
    }

    @AfterAll
    static void close() {
        spark.stop();
    }

    /**
     * A case.
     *
     * @param entry of dataset_info.json
     * @param files text by name
     * @param message what is said
     */
    record WrongData(String entry, Map<String, String> files, String message) {
        @Override
        public String toString() {
            return message;
        }
    }

    static Stream<WrongData> cases() throws IOException {
        try (InputStream text = Objects.requireNonNull(WrongDataTest.class.getResourceAsStream("wrong-data.txt"))) {
            String all = new String(text.readAllBytes(), StandardCharsets.UTF_8);
            return Arrays.stream(all.split("\n\n", -1)).skip(1).map(WrongDataTest::wrong);
        }
    }

    private static WrongData wrong(String block) {
        List<String> lines = new ArrayList<>(block.lines().toList());
        Map<String, String> files = new LinkedHashMap<>();
        String file = "";
        for (String line : lines.subList(1, lines.size() - 1)) {
            if (line.startsWith("file ")) {
                file = line.substring("file ".length());
                files.put(file, "");
            } else {
                files.merge(file, line + "\n", String::concat);
            }
        }
        return new WrongData(lines.get(0), files, lines.get(lines.size() - 1).substring("=> ".length()));
    }

    @Test
    void tableHoldsAtLeastThirtyCases() throws IOException {
        assertThat(cases()).hasSizeGreaterThanOrEqualTo(30);
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("cases")
    void saysExactlyWhatIsWrong(WrongData wrong) throws IOException {
        Files.writeString(folder.resolve("dataset_info.json"), "{\"mine\": " + wrong.entry() + "}");
        for (Map.Entry<String, String> file : wrong.files().entrySet()) {
            Path path = folder.resolve(file.getKey());
            Files.createDirectories(Objects.requireNonNull(path.getParent()));
            Files.writeString(path, file.getValue());
        }
        Map<String, String> keys = Map.of(
                "dataset",
                "mine",
                "template",
                "qwen",
                "dataset_dir",
                folder.toString(),
                "prepared_dir",
                folder + "/prepared");

        DataException refused = assertThrows(
                DataException.class,
                () -> PrepareDataset.prepare(
                        spark,
                        new PreparationFixture(folder).config(keys),
                        ReferenceFiles.tokenizer("small-bpe-qwen")));

        assertThat(String.valueOf(refused.getMessage()).replace("file:", "").replace(folder.toString(), "DIR"))
                .isEqualTo(wrong.message());
    }
}
