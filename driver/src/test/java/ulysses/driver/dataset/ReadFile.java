package ulysses.driver.dataset;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import java.util.function.Consumer;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.JavaSparkContext;
import ulysses.driver.dataset.DatasetEntry.Formatting;

/** The rows of one file as tasks of Spark read them, without Spark; for tests with many files. */
public final class ReadFile {
    private ReadFile() {}

    /** Hands the example of each row to {@code examples}. */
    public static void examples(DatasetEntry entry, Configuration hadoop, Consumer<Example> examples)
            throws IOException {
        RowMapping mapping = RowMapping.of(entry);
        JsonShape shape = new JsonShape();
        for (SourceFile file : SourceFile.of(entry, hadoop)) {
            for (FileSplit split : splits(file, hadoop)) {
                for (Iterator<RawRow> rows = SplitReader.of(split, hadoop); rows.hasNext(); ) {
                    RawRow row = rows.next();
                    shape.add(row.value());
                    examples.accept(mapping.map(
                            entry.formatting() == Formatting.OPENAI ? shape.fill(row.value()) : row.value()));
                }
            }
        }
    }

    /** How many rows a Parquet file has, as the product reads them; a failure that it explains to the user comes as itself. */
    public static int parquet(JavaSparkContext spark, Path file) throws Exception {
        long length = Files.size(file);
        SourceFile source = new SourceFile(file.toString(), FileType.PARQUET, length);
        try {
            return NumberedRows.read(spark, List.of(source)).rows().collect().size();
        } catch (Exception failure) { // SparkException is checked but not declared
            throw DatasetRows.dataException(failure).map(Exception.class::cast).orElse(failure);
        }
    }

    private static List<FileSplit> splits(SourceFile file, Configuration hadoop) {
        FileSplit.Layout layout = switch (file.type()) {
            case JSON, TEXT -> LineFiles.layout(file, hadoop);
            case CSV -> FileSplit.Layout.CSV;
            case ARROW -> FileSplit.Layout.ARROW;
            case PARQUET -> throw new IllegalArgumentException("Parquet is read by Spark alone");
        };
        if (layout == FileSplit.Layout.JSON_ARRAY) {
            return JsonArraySplits.scan(file, 1L << 20, 0, hadoop).splits();
        }
        return List.of(new FileSplit(file, layout, 0, file.length(), 0, 1));
    }

    /** Writes the text of an Arrow stream with one column of text. */
    public static void writeArrow(Path file, String column, List<String> values) throws IOException {
        try (var allocator = new org.apache.arrow.memory.RootAllocator();
                var texts = new org.apache.arrow.vector.VarCharVector(column, allocator);
                var root = org.apache.arrow.vector.VectorSchemaRoot.of(texts);
                var out = Files.newOutputStream(file);
                var writer = new org.apache.arrow.vector.ipc.ArrowStreamWriter(root, null, out)) {
            texts.allocateNew();
            for (int i = 0; i < values.size(); i++) {
                texts.setSafe(i, values.get(i).getBytes(java.nio.charset.StandardCharsets.UTF_8));
            }
            root.setRowCount(values.size());
            writer.start();
            writer.writeBatch();
            writer.end();
        }
    }
}
