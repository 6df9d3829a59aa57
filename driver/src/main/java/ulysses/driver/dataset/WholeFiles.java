package ulysses.driver.dataset;

import java.util.ArrayList;
import java.util.List;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.util.SerializableConfiguration;
import ulysses.driver.dataset.FileSplit.Layout;

/** CSV and Arrow files: a file is one part, because a row can't be found without reading those before it. */
final class WholeFiles {
    private WholeFiles() {}

    static NumberedRows read(JavaSparkContext spark, List<SourceFile> files) {
        List<FileSplit> splits = new ArrayList<>();
        for (SourceFile file : files) {
            Layout layout = file.type() == FileType.CSV ? Layout.CSV : Layout.ARROW;
            splits.add(new FileSplit(file, layout, 0, file.length(), 0, 1));
        }
        SerializableConfiguration hadoop = new SerializableConfiguration(spark.hadoopConfiguration());
        List<Long> counts = spark.parallelize(splits, splits.size())
                .map(split -> {
                    long count = 0;
                    for (var rows = SplitReader.of(split, hadoop.value()); rows.hasNext(); rows.next()) {
                        count++;
                    }
                    return count;
                })
                .collect();
        long row = 0;
        for (int i = 0; i < splits.size(); i++) {
            splits.set(i, splits.get(i).numbered(row, 1));
            row += counts.get(i);
        }
        return new NumberedRows(rows(spark, splits), row);
    }

    /** The rows of numbered parts, a task a part. */
    static JavaRDD<RawRow> rows(JavaSparkContext spark, List<FileSplit> splits) {
        if (splits.isEmpty()) {
            return spark.emptyRDD();
        }
        SerializableConfiguration hadoop = new SerializableConfiguration(spark.hadoopConfiguration());
        return spark.parallelize(splits, splits.size()).flatMap(split -> SplitReader.of(split, hadoop.value()));
    }
}
