package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.Serializable;
import java.net.URI;
import java.net.URISyntaxException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.NoSuchElementException;
import java.util.Optional;
import java.util.function.Supplier;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.spark.SparkThrowable;
import org.apache.spark.TaskKilledException;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.execution.datasources.parquet.ParquetFileFormat;
import org.apache.spark.sql.execution.datasources.parquet.ParquetToSparkSchemaConverter;
import org.apache.spark.sql.internal.SQLConf;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.util.SerializableConfiguration;

/** Parquet files through Spark's own reader, which knows the number of each row in its file: all of one schema as one table. */
final class ParquetFiles {

    private static final String FILE = "_ulysses_file";
    private static final String ROW_INDEX = "_ulysses_row_index";

    /** Spark's faster reader never ends at some damaged pages. */
    private static final String VECTORIZED = "spark.sql.parquet.enableVectorizedReader";

    private ParquetFiles() {}

    static NumberedRows read(JavaSparkContext spark, List<SourceFile> files) {
        SparkSession session =
                SparkSession.builder().sparkContext(spark.sc()).getOrCreate().newSession();
        session.conf().set(VECTORIZED, "false");
        List<Footer> footers = footers(spark, files);
        Map<StructType, Numbered> alike = new LinkedHashMap<>();
        long count = 0;
        for (int i = 0; i < files.size(); i++) {
            Footer footer = footers.get(i);
            alike.computeIfAbsent(footer.schema(), schema -> new Numbered(new HashMap<>()))
                    .add(files.get(i), count);
            count += footer.rows();
        }
        List<JavaRDD<RawRow>> parts = new ArrayList<>();
        alike.forEach((schema, numbered) -> parts.add(table(session, schema, numbered)
                .toJavaRDD()
                .mapPartitions(rows -> new Read(rows, numbered))
                .map(numbered::rawRow)));
        // all at once: a union of unions of many tables is deeper than the stack
        return new NumberedRows(spark.union(parts.toArray(ParquetFiles::unions)), count);
    }

    @SuppressWarnings("unchecked") // Java has no arrays of generic types
    private static JavaRDD<RawRow>[] unions(int length) {
        return (JavaRDD<RawRow>[]) new JavaRDD<?>[length];
    }

    /** What a file says of itself; Spark, asked for the schema of each, would run a job for each. */
    private record Footer(long rows, StructType schema) implements Serializable {}

    private static List<Footer> footers(JavaSparkContext spark, List<SourceFile> files) {
        SerializableConfiguration hadoop = new SerializableConfiguration(spark.hadoopConfiguration());
        int tasks = Math.min(files.size(), spark.defaultParallelism());
        return spark.parallelize(files, tasks)
                .map(file -> footer(file, hadoop.value()))
                .collect();
    }

    private static Footer footer(SourceFile file, Configuration hadoop) {
        Path path = new Path(file.path());
        try (ParquetFileReader reader = ParquetFileReader.open(HadoopInputFile.fromPath(path, hadoop))) {
            org.apache.parquet.hadoop.Footer read = new org.apache.parquet.hadoop.Footer(path, reader.getFooter());
            return new Footer(
                    reader.getRecordCount(),
                    ParquetFileFormat.readSchemaFromFooter(read, new ParquetToSparkSchemaConverter(SQLConf.get())));
        } catch (Exception failure) { // SparkException is checked but not declared
            throw SplitReader.unreadable(file, DatasetRows.deepest(failure));
        }
    }

    private static Dataset<Row> table(SparkSession session, StructType schema, Numbered numbered) {
        try {
            return session.read()
                    .schema(schema)
                    .parquet(numbered.byName().keySet().stream()
                            .map(ParquetFiles::asPattern)
                            .toArray(String[]::new))
                    .selectExpr("*", "_metadata.file_path as " + FILE, "_metadata.row_index as " + ROW_INDEX);
        } catch (Exception failure) { // as above
            throw SplitReader.unreadable(numbered.any(), DatasetRows.deepest(failure));
        }
    }

    /** Spark takes every path for a pattern. */
    private static String asPattern(String path) {
        return path.replaceAll("[\\\\\\[\\]{}*?]", "\\\\$0");
    }

    /** Files by their paths, each with the number of its first row. */
    private record Numbered(Map<String, First> byName) implements Serializable {

        private record First(SourceFile file, long row) implements Serializable {}

        void add(SourceFile file, long firstRow) {
            byName.put(file.path(), new First(file, firstRow));
        }

        SourceFile any() {
            return byName.values().iterator().next().file();
        }

        RawRow rawRow(Row row) {
            ObjectNode object = ColumnValues.object(row);
            First first = find(object.remove(FILE).textValue()).orElseThrow();
            long index = object.remove(ROW_INDEX).longValue();
            return new RawRow(
                    first.row() + index, "%s row %d".formatted(first.file().path(), index + 1), object);
        }

        /** {@code path} as Spark writes it: with slashes of its own, and characters as in addresses. */
        private Optional<First> find(String path) {
            First plain = byName.get(new Path(path).toString());
            if (plain != null) {
                return Optional.of(plain);
            }
            try {
                return Optional.ofNullable(byName.get(new Path(new URI(path)).toString()));
            } catch (URISyntaxException e) {
                return Optional.empty();
            }
        }

        /** The file that Spark says it could not read. */
        SourceFile of(Throwable failure) {
            for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
                if (cause instanceof SparkThrowable said) {
                    Optional<First> found = Optional.ofNullable(
                                    said.getMessageParameters().get("path"))
                            .flatMap(this::find);
                    if (found.isPresent()) {
                        return found.get().file();
                    }
                }
            }
            return any();
        }
    }

    /** Rows whose pages are read as they are asked for; one that can't be is the file's fault, not the task's. */
    private record Read(Iterator<Row> rows, Numbered numbered) implements Iterator<Row> {
        @Override
        public boolean hasNext() {
            return get(rows::hasNext);
        }

        @Override
        public Row next() {
            return get(rows::next);
        }

        private <T> T get(Supplier<T> what) {
            try {
                return what.get();
            } catch (TaskKilledException | NoSuchElementException ending) {
                throw ending;
            } catch (Exception failure) { // as above
                throw SplitReader.unreadable(numbered.of(failure), DatasetRows.deepest(failure));
            }
        }
    }
}
