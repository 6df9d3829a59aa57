package ulysses.driver.dataset;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.Serializable;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FSDataInputStream;
import org.apache.hadoop.fs.Path;
import org.jspecify.annotations.Nullable;
import ulysses.driver.dataset.DatasetEntry.Column;
import ulysses.driver.dataset.DatasetEntry.Formatting;
import ulysses.driver.dataset.DatasetEntry.Tag;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.DataException;

/** The entries of dataset_info.json, as LLaMA-Factory reads them. */
public final class DatasetRegistry implements Serializable {
    private static final long serialVersionUID = 1L;

    private static final String DATE = TrainingConfig.Day.NAME;
    private static final String FILE = "dataset_info.json";
    private static final long MOST_SAMPLES = 100_000_000; // the driver holds the place of each

    private final String folder;
    private final @Nullable String date;
    private final LinkedHashMap<String, JsonNode> entries;

    private DatasetRegistry(String folder, Optional<String> date, Map<String, JsonNode> entries) {
        this.folder = folder;
        this.date = date.orElse(null);
        this.entries = new LinkedHashMap<>(entries);
    }

    /**
     * Reads {@code dataset_info.json}.
     *
     * @param folder {@code dataset_dir}: local disk or any Hadoop file system
     * @param hadoop how to reach it
     * @throws DataException when the file is missing or no JSON object
     */
    public static DatasetRegistry open(String folder, Configuration hadoop) {
        return open(folder, Optional.empty(), hadoop);
    }

    /** The same with files of {@code date}: {@code {date}} in a file_name stands for it. */
    public static DatasetRegistry open(String folder, Optional<String> date, Configuration hadoop) {
        if (folder.equals("ONLINE") || folder.startsWith("REMOTE:")) {
            throw new DataException(
                    ("dataset_dir %s needs a hub; download the data, write a dataset_info.json beside it and "
                                    + "name that folder")
                            .formatted(folder));
        }
        Path file = new Path(folder, FILE);
        try (FSDataInputStream stream = file.getFileSystem(hadoop).open(file)) {
            return parse(folder, date, new String(stream.readAllBytes(), StandardCharsets.UTF_8));
        } catch (FileNotFoundException missing) {
            throw new DataException(
                    "%s is not there; set dataset_dir to the folder that holds it".formatted(file), missing);
        } catch (IOException failure) {
            throw new DataException("%s can't be read: %s".formatted(file, failure.getMessage()), failure);
        }
    }

    private static DatasetRegistry parse(String folder, Optional<String> date, String json) {
        try {
            JsonNode root = PythonJson.parse(json);
            if (!root.isObject()) {
                throw new DataException("%s/%s is not a JSON object of datasets but %s"
                        .formatted(folder, FILE, RowMapping.shown(root)));
            }
            Map<String, JsonNode> entries = new LinkedHashMap<>();
            root.properties().forEach(entry -> entries.put(entry.getKey(), entry.getValue()));
            return new DatasetRegistry(folder, date, entries);
        } catch (JsonProcessingException damaged) {
            throw new DataException(
                    "%s/%s is not valid JSON: line %d: %s"
                            .formatted(folder, FILE, PythonJson.line(damaged), damaged.getOriginalMessage()),
                    damaged);
        }
    }

    /** Names of all datasets. */
    public List<String> names() {
        return List.copyOf(entries.keySet());
    }

    /**
     * Refuses, all problems at once: names that are not there, entries that can't be read, and datasets of another stage.
     *
     * @param names datasets of a run
     * @param kind what the run trains on
     */
    public void require(List<String> names, Kind kind) {
        List<String> problems = new ArrayList<>();
        for (String name : names) {
            try {
                DatasetEntry entry = entry(name);
                if (entry.ranking() != (kind == Kind.PREFERENCES)) {
                    problems.add(
                            entry.ranking()
                                    ? "dataset %s is a ranking (\"ranking\": true), which only stage dpo trains on; use another dataset or stage: dpo"
                                            .formatted(name)
                                    : "dataset %s is no ranking, which stage dpo needs; add \"ranking\": true with chosen and rejected columns, or use stage: sft"
                                            .formatted(name));
                }
            } catch (DataException problem) {
                problems.add(problem.getMessage());
            }
        }
        if (!problems.isEmpty()) {
            throw new DataException(String.join("\n", problems));
        }
    }

    /** What a run trains on. */
    public enum Kind {
        TEXTS,
        PREFERENCES
    }

    /**
     * One entry.
     *
     * @throws DataException for an unknown name, with the nearest known one, and for entries that can't be read here
     */
    public DatasetEntry entry(String name) {
        JsonNode entry = entries.get(name);
        if (entry == null) {
            throw new DataException("dataset %s is not in %s/%s; did you mean %s?"
                    .formatted(name, folder, FILE, NearestName.of(name, entries.keySet())));
        }
        refuseUnreadable(name, entry);
        return new DatasetEntry(
                name,
                path(name, entry),
                formatting(name, entry),
                entry.path("ranking").asBoolean(),
                slice(name, entry),
                sampleCount(name, entry),
                columns(entry),
                tags(entry));
    }

    private static void refuseUnreadable(String name, JsonNode entry) {
        for (String hub : List.of("hf_hub_url", "ms_hub_url", "om_hub_url", "script_url")) {
            if (entry.has(hub) && !entry.has("file_name")) {
                throw new DataException(
                        ("dataset %s comes from a hub (%s %s); download it and name the file with file_name "
                                        + "instead")
                                .formatted(name, hub, entry.path(hub).asText()));
            }
        }
        if (entry.path("columns").hasNonNull(Column.KTO_TAG.key())) {
            throw new DataException(
                    "dataset %s is for stage kto (columns.kto_tag), which is not trained here; remove kto_tag to use it for sft"
                            .formatted(name));
        }
    }

    private static long sampleCount(String name, JsonNode entry) {
        JsonNode count = entry.path("num_samples");
        boolean given = !count.isMissingNode() && !count.isNull();
        if (given && (!count.isIntegralNumber() || count.asLong() < 0 || count.asLong() > MOST_SAMPLES)) {
            throw new DataException("dataset %s: num_samples %s is not possible; use at most %d, or leave it out"
                    .formatted(name, RowMapping.shown(count), MOST_SAMPLES));
        }
        return count.asLong(0);
    }

    private static String shown(String text) {
        return RowMapping.shown(TextNode.valueOf(text));
    }

    private static RowSlice slice(String name, JsonNode entry) {
        String split = entry.path("split").asText("train");
        return RowSlice.of(split)
                .orElseThrow(() -> new DataException(
                        "dataset %s asks for split %s, but a file has only train; use train, or a part of it such as train[:100] or train[10%%:20%%]"
                                .formatted(name, split)));
    }

    private String path(String name, JsonNode entry) {
        String file =
                entry.path("file_name").asText(entry.path("cloud_file_name").asText(""));
        if (file.isEmpty()) {
            throw new DataException(
                    "dataset %s has no file_name; name the file or folder, relative to %s".formatted(name, folder));
        }
        if (date == null && file.contains(DATE)) {
            throw new DataException("dataset %s: file_name %s names %s, but the run has no date; add --date 2026-11-26"
                    .formatted(name, file, DATE));
        }
        String dated = date == null ? file : file.replace(DATE, date);
        String reachable = dated.startsWith("s3://") ? "s3a" + dated.substring("s3".length()) : dated;
        try {
            return new Path(new Path(folder), new Path(reachable)).toString();
        } catch (IllegalArgumentException noPath) {
            throw new DataException(
                    "dataset %s: file_name %s is no path: %s; name the file or folder, relative to %s"
                            .formatted(name, shown(file), noPath.getMessage(), folder),
                    noPath);
        }
    }

    private static Formatting formatting(String name, JsonNode entry) {
        String written = entry.path("formatting").asText("alpaca");
        for (Formatting formatting : Formatting.values()) {
            if (formatting.name().toLowerCase(Locale.ROOT).equals(written)) {
                return formatting;
            }
        }
        throw new DataException(
                "dataset %s has formatting %s; use alpaca, sharegpt or openai".formatted(name, written));
    }

    /** An entry that names some columns names all: the others are absent, not at their standard. The same for tags. */
    private static Map<Column, String> columns(JsonNode entry) {
        Map<Column, String> columns = new EnumMap<>(Column.class);
        for (Column column : Column.values()) {
            if (!entry.has("columns")) {
                column.standard().ifPresent(standard -> columns.put(column, standard));
            } else if (entry.path("columns").hasNonNull(column.key())) {
                columns.put(column, entry.path("columns").path(column.key()).asText());
            }
        }
        return columns;
    }

    private static Map<Tag, String> tags(JsonNode entry) {
        Map<Tag, String> tags = new EnumMap<>(Tag.class);
        for (Tag tag : Tag.values()) {
            if (!entry.has("tags")) {
                tags.put(tag, tag.standard());
            } else if (entry.path("tags").hasNonNull(tag.key())) {
                tags.put(tag, entry.path("tags").path(tag.key()).asText());
            }
        }
        return tags;
    }

    /** An entry given directly, for example of a test. */
    static DatasetEntry entry(String folder, String name, JsonNode entry) {
        return new DatasetRegistry(folder, Optional.empty(), Map.of(name, entry)).entry(name);
    }
}
