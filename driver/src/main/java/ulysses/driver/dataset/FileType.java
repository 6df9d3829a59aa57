package ulysses.driver.dataset;

import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/** What a data file holds, told by the end of its name as LLaMA-Factory does. */
enum FileType {
    /** One JSON array, or one JSON object a line. */
    JSON("JSON"),
    CSV("CSV"),
    PARQUET("Parquet"),
    ARROW("Arrow"),
    /** A document a line, blank lines too. */
    TEXT("text");

    private static final Map<String, FileType> ENDINGS =
            Map.of("json", JSON, "jsonl", JSON, "csv", CSV, "parquet", PARQUET, "arrow", ARROW, "txt", TEXT);

    private final String title;

    FileType(String title) {
        this.title = title;
    }

    /** Its name in messages. */
    String title() {
        return title;
    }

    static Optional<FileType> of(String fileName) {
        String ending = fileName.substring(fileName.lastIndexOf('.') + 1).toLowerCase(Locale.ROOT);
        return Optional.ofNullable(ENDINGS.get(ending));
    }
}
