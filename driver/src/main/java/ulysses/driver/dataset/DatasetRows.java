package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import ulysses.driver.dataset.DatasetEntry.Column;
import ulysses.driver.dataset.DatasetEntry.Formatting;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.DataException;

/** Rows of datasets as examples, read on Spark's executors; each with a number that depends on nothing but files and settings. */
public final class DatasetRows {

    /** Rows looked at before a column counts as missing; only then all are. */
    private static final int CHECKED_ROWS = 1000;

    /** Fewer rows than this are not worth a shuffle. */
    private static final long WORTH_SPREADING = 10_000;

    private DatasetRows() {}

    /**
     * Reads datasets and mixes them.
     *
     * @param spark where to read
     * @param registry dataset_info.json
     * @param names datasets, in the order of the mix
     * @param data max_samples, mix_strategy, interleave_probs, workers
     * @param seeds for num_samples and for mixing with probabilities
     * @return every row of the mix, unusable ones too
     * @throws DataException for a missing file or column, before any row is mapped; a damaged row ends the job that reads it with a
     *     DataException in the chain of causes, see {@link #dataException}
     */
    public static Mixed read(
            JavaSparkContext spark,
            DatasetRegistry registry,
            List<String> names,
            TrainingConfig.Data data,
            Seeds seeds) {
        try {
            List<Drawn> datasets = new ArrayList<>();
            for (String name : names) {
                DatasetEntry entry = registry.entry(name);
                NumberedRows rows = NumberedRows.read(spark, SourceFile.of(entry, spark.hadoopConfiguration()));
                requireColumns(entry, rows);
                datasets.add(new Drawn(entry, rows, drawn(entry, rows.count(), data.maxSamples(), seeds.samples())));
            }
            long[] lengths = datasets.stream()
                    .mapToLong(dataset -> dataset.drawn().count())
                    .toArray();
            List<DatasetMix.Draws> mix =
                    DatasetMix.of(data.mixStrategy(), lengths, data.interleaveProbabilities(), seeds.mix());
            JavaRDD<SourceRow> all = spark.emptyRDD();
            for (int i = 0; i < datasets.size(); i++) {
                all = all.union(datasets.get(i).sourceRows(mix.get(i), partitions(spark, data)));
            }
            return new Mixed(
                    all, mix.stream().mapToLong(DatasetMix.Draws::count).sum());
        } catch (RuntimeException failure) {
            throw dataException(failure).map(RuntimeException.class::cast).orElse(failure);
        }
    }

    private static DrawnRows drawn(DatasetEntry entry, long rows, int limit, NumpyRandomState random) {
        long first = entry.slice().first(rows);
        long end = entry.slice().end(rows);
        if (first >= end) {
            throw new DataException("dataset %s: split %s holds none of the %d rows of %s; widen it"
                    .formatted(entry.name(), entry.slice(), rows, entry.path()));
        }
        return new DrawnRows.Part(first, end, DrawnRows.of(end - first, entry.sampleCount(), limit, random));
    }

    /**
     * Where randomness comes from, as in LLaMA-Factory.
     *
     * @param mix seed of {@code interleave_probs}: each mix begins with it
     * @param samples draws {@code num_samples}: evaluation datasets go on behind the training ones
     */
    public record Seeds(long mix, NumpyRandomState samples) {

        /** Those of a run. */
        public static Seeds of(long seed) {
            return new Seeds(seed, new NumpyRandomState(seed));
        }
    }

    /**
     * Rows of a mix.
     *
     * @param rows in no particular order; {@link SourceRow#rowNumber()} is the order
     * @param count how many, known without reading them
     */
    public record Mixed(JavaRDD<SourceRow> rows, long count) {}

    private static int partitions(JavaSparkContext spark, TrainingConfig.Data data) {
        return data.workers() > 0 ? data.workers() : spark.defaultParallelism();
    }

    /** What a failure of a Spark job says about the user's data, if it comes from there. */
    public static Optional<DataException> dataException(Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (cause instanceof DataException found) {
                return Optional.of(found);
            }
        }
        return Optional.empty();
    }

    /** Where a failure began; what Spark and libraries wrap round it is for developers. */
    public static Throwable deepest(Throwable failure) {
        Throwable cause = failure;
        while (cause.getCause() != null) {
            cause = cause.getCause();
        }
        return cause;
    }

    /**
     * A dataset and what is drawn from it.
     *
     * @param entry its entry
     * @param rows all its rows
     * @param drawn num_samples and max_samples
     */
    private record Drawn(DatasetEntry entry, NumberedRows rows, DrawnRows drawn) {

        JavaRDD<SourceRow> sourceRows(DatasetMix.Draws draws, int partitions) {
            JavaRDD<RawRow> raw = entry.formatting() == Formatting.OPENAI ? shaped(rows.rows()) : rows.rows();
            RowMapping mapping = RowMapping.of(entry);
            String name = entry.name();
            DrawnRows positions = drawn;
            JavaRDD<SourceRow> mapped = raw.flatMap(row -> numbered(row, name, mapping, positions, draws));
            boolean spread = mapped.getNumPartitions() < partitions && rows.count() >= WORTH_SPREADING;
            return spread ? mapped.repartition(partitions) : mapped;
        }
    }

    private static Iterator<SourceRow> numbered(
            RawRow row, String name, RowMapping mapping, DrawnRows positions, DatasetMix.Draws draws) {
        List<SourceRow> numbered = new ArrayList<>();
        long[] drawnAt = positions.positions(row.fileRow());
        if (drawnAt.length > 0) {
            Example example = example(row, name, mapping);
            for (long position : drawnAt) {
                for (long draw = position; draw < draws.count(); draw += positions.count()) {
                    numbered.add(new SourceRow(draws.rowNumber(draw), name, row.fileRow(), example));
                }
            }
        }
        return numbered.iterator();
    }

    private static Example example(RawRow row, String name, RowMapping mapping) {
        try {
            return mapping.map(row.value());
        } catch (DataException refused) {
            throw new DataException("dataset %s, %s: %s".formatted(name, row.place(), refused.getMessage()), refused);
        }
    }

    /** Nested values in the shape that all rows share; see {@link JsonShape}. */
    private static JavaRDD<RawRow> shaped(JavaRDD<RawRow> rows) {
        JsonShape shape = new JsonShape();
        rows.mapPartitions(part -> {
                    JsonShape own = new JsonShape();
                    part.forEachRemaining(row -> own.add(row.value()));
                    return List.of(own).iterator();
                })
                .collect()
                .forEach(shape::merge);
        return rows.map(row -> new RawRow(row.fileRow(), row.place(), shape.fill(row.value())));
    }

    /** A column that the entry names and no row has is a mistake in the entry. */
    private static void requireColumns(DatasetEntry entry, NumberedRows rows) {
        if (rows.count() == 0) {
            throw new DataException("dataset %s has no rows: %s is empty".formatted(entry.name(), entry.path()));
        }
        Set<String> required = required(entry);
        Set<String> found = new TreeSet<>();
        rows.rows().take(CHECKED_ROWS).forEach(row -> found.addAll(columns(row.value())));
        if (!found.containsAll(required) && rows.count() > CHECKED_ROWS) {
            found.addAll(rows.rows()
                    .mapPartitions(part -> {
                        Set<String> own = new TreeSet<>();
                        part.forEachRemaining(row -> own.addAll(columns(row.value())));
                        return own.iterator();
                    })
                    .distinct()
                    .collect());
        }
        List<String> missing =
                required.stream().filter(column -> !found.contains(column)).toList();
        if (!missing.isEmpty()) {
            throw new DataException("dataset %s: %s has no column %s; it has %s; name its columns in dataset_info.json"
                    .formatted(entry.name(), entry.path(), String.join(", ", missing), String.join(", ", found)));
        }
    }

    private static Set<String> columns(JsonNode row) {
        Set<String> names = new TreeSet<>();
        row.fieldNames().forEachRemaining(names::add);
        return names;
    }

    /** The columns that LLaMA-Factory looks up in every row. */
    private static Set<String> required(DatasetEntry entry) {
        List<Column> columns = new ArrayList<>(
                switch (entry.formatting()) {
                    case ALPACA -> List.of(Column.PROMPT, Column.QUERY, Column.HISTORY, Column.SYSTEM, Column.TOOLS);
                    case SHAREGPT -> List.of(Column.MESSAGES, Column.SYSTEM, Column.TOOLS);
                    case OPENAI -> List.of(Column.MESSAGES);
                });
        if (entry.ranking()) {
            columns.addAll(List.of(Column.CHOSEN, Column.REJECTED));
        } else if (entry.formatting() == Formatting.ALPACA) {
            columns.add(Column.RESPONSE);
        }
        return columns.stream()
                .flatMap(column -> entry.column(column).stream())
                .collect(Collectors.toCollection(TreeSet::new));
    }
}
