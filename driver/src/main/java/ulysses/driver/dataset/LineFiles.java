package ulysses.driver.dataset;

import java.io.IOException;
import java.io.InputStream;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.hadoop.io.Text;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.util.SerializableConfiguration;
import ulysses.driver.dataset.FileSplit.Layout;

/** JSON and text files: cut into parts that are read side by side, after the rows of each part are counted. */
final class LineFiles {

    /** Parts are at least this long: shorter ones cost more to schedule than to read. */
    private static final long SMALLEST_PART = 1L << 20;

    /** Parts are at most this long, so that a lost task repeats little. */
    private static final long LARGEST_PART = 128L << 20;

    private LineFiles() {}

    /**
     * What a part of a file of lines holds.
     *
     * @param rows lines that are rows
     * @param lines all lines
     */
    private record LineCount(long rows, long lines) implements Serializable {}

    static NumberedRows read(JavaSparkContext spark, List<SourceFile> files) {
        long total = files.stream().mapToLong(SourceFile::length).sum();
        long wanted = total / Math.max(1, 4L * spark.defaultParallelism()) + 1;
        return read(spark, files, Math.max(SMALLEST_PART, Math.min(LARGEST_PART, wanted)));
    }

    /** The same with a given length of the parts, in bytes. */
    static NumberedRows read(JavaSparkContext spark, List<SourceFile> files, long part) {
        Configuration hadoop = spark.hadoopConfiguration();
        List<FileSplit> splits = new ArrayList<>();
        long row = 0;
        for (SourceFile file : files) {
            Layout layout = layout(file, hadoop);
            if (layout == Layout.JSON_ARRAY) {
                JsonArraySplits array = JsonArraySplits.scan(file, part, row, hadoop);
                splits.addAll(array.splits());
                row += array.rows();
            } else {
                List<FileSplit> counted = counted(spark, cut(file, layout, part), row);
                splits.addAll(counted.subList(0, counted.size() - 1));
                row = counted.get(counted.size() - 1).firstRow();
            }
        }
        return new NumberedRows(WholeFiles.rows(spark, splits), row);
    }

    /** An array or lines: the first character tells, whatever the name. */
    static Layout layout(SourceFile file, Configuration hadoop) {
        if (file.type() == FileType.TEXT) {
            return Layout.TEXT_LINES;
        }
        Path path = new Path(file.path());
        try (InputStream stream = path.getFileSystem(hadoop).open(path)) {
            int first = stream.read();
            while (first == ' '
                    || first == '\t'
                    || first == '\n'
                    || first == '\r'
                    || first == 0xEF
                    || first == 0xBB
                    || first == 0xBF) {
                first = stream.read();
            }
            return first == '[' ? Layout.JSON_ARRAY : Layout.JSON_LINES;
        } catch (IOException failure) {
            throw SplitReader.unreadable(file, failure);
        }
    }

    private static List<FileSplit> cut(SourceFile file, Layout layout, long part) {
        List<FileSplit> splits = new ArrayList<>();
        for (long start = 0; start == 0 || start < file.length(); start += part) {
            splits.add(new FileSplit(file, layout, start, Math.min(start + part, file.length()), 0, 1));
        }
        return splits;
    }

    /** The parts with their numbers, and behind them an empty one with the number of the next row. */
    private static List<FileSplit> counted(JavaSparkContext spark, List<FileSplit> splits, long firstRow) {
        SerializableConfiguration hadoop = new SerializableConfiguration(spark.hadoopConfiguration());
        List<LineCount> counts = spark.parallelize(splits, splits.size())
                .map(split -> count(split, hadoop.value()))
                .collect();
        List<FileSplit> numbered = new ArrayList<>();
        long row = firstRow;
        long line = 1;
        for (int i = 0; i < splits.size(); i++) {
            numbered.add(splits.get(i).numbered(row, line));
            row += counts.get(i).rows();
            line += counts.get(i).lines();
        }
        numbered.add(splits.get(0).numbered(row, line));
        return numbered;
    }

    private static LineCount count(FileSplit split, Configuration hadoop) throws IOException {
        LineCursor cursor = new LineCursor(split, SplitReader.open(split, hadoop));
        Text line = new Text();
        long rows = 0;
        long lines = 0;
        while (cursor.next(line)) {
            lines++;
            if (split.layout() == Layout.TEXT_LINES || !LineCursor.isBlank(line)) {
                rows++;
            }
        }
        return new LineCount(rows, lines);
    }
}
