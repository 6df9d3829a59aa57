package ulysses.driver.dataset;

import java.io.Serializable;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * One entry of dataset_info.json.
 *
 * @param name its name there
 * @param path file or folder; a Hadoop path
 * @param formatting how rows are laid out
 * @param ranking whether rows hold a better and a worse answer
 * @param slice {@code split}: the rows of the file that are the dataset
 * @param sampleCount {@code num_samples}: rows drawn, with repetition where there are fewer; 0 means all as they are
 * @param columns what is in which column; a column that is not named is absent
 * @param tags how roles are written; a tag that is not named is absent
 */
public record DatasetEntry(
        String name,
        String path,
        Formatting formatting,
        boolean ranking,
        RowSlice slice,
        long sampleCount,
        Map<Column, String> columns,
        Map<Tag, String> tags)
        implements Serializable {

    /** {@code formatting}. */
    public enum Formatting {
        ALPACA,
        SHAREGPT,
        OPENAI
    }

    /** Keys of {@code columns} with what they are when the entry has no columns at all; empty is absent. */
    public enum Column {
        PROMPT("instruction"),
        QUERY("input"),
        RESPONSE("output"),
        HISTORY(""),
        MESSAGES("conversations"),
        SYSTEM(""),
        TOOLS(""),
        IMAGES(""),
        VIDEOS(""),
        AUDIOS(""),
        CHOSEN(""),
        REJECTED(""),
        KTO_TAG("");

        private final String standard;

        Column(String standard) {
            this.standard = standard;
        }

        Optional<String> standard() {
            return Optional.of(standard).filter(column -> !column.isEmpty());
        }

        String key() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    /** Keys of {@code tags} with what they are when the entry has no tags at all. */
    public enum Tag {
        ROLE_TAG("from"),
        CONTENT_TAG("value"),
        USER_TAG("human"),
        ASSISTANT_TAG("gpt"),
        OBSERVATION_TAG("observation"),
        FUNCTION_TAG("function_call"),
        SYSTEM_TAG("system");

        private final String standard;

        Tag(String standard) {
            this.standard = standard;
        }

        String standard() {
            return standard;
        }

        String key() {
            return name().toLowerCase(Locale.ROOT);
        }
    }

    public DatasetEntry {
        columns = Map.copyOf(columns);
        tags = Map.copyOf(tags);
    }

    /** The name of a column, if it is there. */
    public Optional<String> column(Column column) {
        return Optional.ofNullable(columns.get(column));
    }

    /** How a role or field is written, if it is. */
    public Optional<String> tag(Tag tag) {
        return Optional.ofNullable(tags.get(tag));
    }
}
