package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import java.util.function.Supplier;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.parquet.hadoop.ParquetFileReader;
import org.apache.parquet.hadoop.util.HadoopInputFile;
import org.apache.spark.TaskKilledException;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.util.SerializableConfiguration;

/** Parquet files through Spark's own reader, which knows the number of each row in its file. */
final class ParquetFiles {

    private static final String ROW_INDEX = "_ulysses_row_index";

    /** Spark's faster reader never ends at some damaged pages. */
    private static final String VECTORIZED = "spark.sql.parquet.enableVectorizedReader";

    private ParquetFiles() {}

    static NumberedRows read(JavaSparkContext spark, List<SourceFile> files) {
        SparkSession session =
                SparkSession.builder().sparkContext(spark.sc()).getOrCreate().newSession();
        session.conf().set(VECTORIZED, "false");
        List<Dataset<Row>> tables =
                files.stream().map(file -> table(session, file)).toList();
        List<Long> counts = counts(spark, files);
        List<JavaRDD<RawRow>> parts = new ArrayList<>();
        long count = 0;
        for (int i = 0; i < files.size(); i++) {
            SourceFile file = files.get(i);
            long first = count;
            String path = file.path();
            parts.add(tables.get(i)
                    .toJavaRDD()
                    .mapPartitions(each -> new Read(each, file))
                    .map(row -> rawRow(row, first, path)));
            count += counts.get(i);
        }
        // all at once: a union of unions of many files is deeper than the stack
        return new NumberedRows(spark.union(parts.toArray(ParquetFiles::unions)), count);
    }

    @SuppressWarnings("unchecked") // Java has no arrays of generic types
    private static JavaRDD<RawRow>[] unions(int length) {
        return (JavaRDD<RawRow>[]) new JavaRDD<?>[length];
    }

    /** Rows of each file, as their footers say: one job for all. */
    private static List<Long> counts(JavaSparkContext spark, List<SourceFile> files) {
        SerializableConfiguration hadoop = new SerializableConfiguration(spark.hadoopConfiguration());
        int tasks = Math.min(files.size(), spark.defaultParallelism());
        return spark.parallelize(files, tasks)
                .map(file -> counted(file, hadoop.value()))
                .collect();
    }

    private static Dataset<Row> table(SparkSession session, SourceFile file) {
        try {
            return session.read().parquet(file.path()).selectExpr("*", "_metadata.row_index as " + ROW_INDEX);
        } catch (Exception failure) { // SparkException is checked but not declared
            throw SplitReader.unreadable(file, DatasetRows.deepest(failure));
        }
    }

    private static long counted(SourceFile file, Configuration hadoop) {
        try (ParquetFileReader reader =
                ParquetFileReader.open(HadoopInputFile.fromPath(new Path(file.path()), hadoop))) {
            return reader.getRecordCount();
        } catch (Exception failure) { // as above
            throw SplitReader.unreadable(file, DatasetRows.deepest(failure));
        }
    }

    /** Rows whose pages are read as they are asked for; one that can't be is the file's fault, not the task's. */
    private record Read(Iterator<Row> rows, SourceFile file) implements Iterator<Row> {
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
                throw SplitReader.unreadable(file, DatasetRows.deepest(failure));
            }
        }
    }

    private static RawRow rawRow(Row row, long first, String path) {
        ObjectNode object = ColumnValues.object(row);
        long index = object.remove(ROW_INDEX).longValue();
        return new RawRow(first + index, "%s row %d".formatted(path, index + 1), object);
    }
}
