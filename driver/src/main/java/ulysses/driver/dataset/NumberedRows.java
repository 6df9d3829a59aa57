package ulysses.driver.dataset;

import java.util.List;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;

/**
 * All rows of some files, each with its number; the numbers depend on nothing but the files.
 *
 * @param rows in no particular order
 * @param count how many
 */
record NumberedRows(JavaRDD<RawRow> rows, long count) {

    /** Reads files of one type, in order. */
    static NumberedRows read(JavaSparkContext spark, List<SourceFile> files) {
        return switch (files.get(0).type()) {
            case JSON, TEXT -> LineFiles.read(spark, files);
            case CSV, ARROW -> WholeFiles.read(spark, files);
            case PARQUET -> ParquetFiles.read(spark, files);
        };
    }
}
