package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.Serializable;
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
import org.apache.spark.sql.execution.datasources.parquet.ParquetFileFormat;
import org.apache.spark.sql.execution.datasources.parquet.ParquetToSparkSchemaConverter;
import org.apache.spark.sql.internal.SQLConf;
import org.apache.spark.sql.types.StructType;
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
        List<Footer> footers = footers(spark, files);
        List<JavaRDD<RawRow>> parts = new ArrayList<>();
        long count = 0;
        for (int i = 0; i < files.size(); i++) {
            SourceFile file = files.get(i);
            long first = count;
            String path = file.path();
            Footer footer = footers.get(i);
            parts.add(table(session, file, footer.schema())
                    .toJavaRDD()
                    .mapPartitions(each -> new Read(each, file))
                    .map(row -> rawRow(row, first, path)));
            count += footer.rows();
        }
        // all at once: a union of unions of many files is deeper than the stack
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

    private static Dataset<Row> table(SparkSession session, SourceFile file, StructType schema) {
        try {
            return session.read()
                    .schema(schema)
                    .parquet(file.path())
                    .selectExpr("*", "_metadata.row_index as " + ROW_INDEX);
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
