package ulysses.driver.fuzz;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.StructType;
import ulysses.driver.dataset.ReadFile;
import ulysses.driver.hub.ReadListing;
import ulysses.driver.plan.ReadHardware;

/** Readers of what the driver alone reads: devices, a hub's answers, and Parquet, which takes Spark. */
final class DriverReaders {
    private static final String LISTING = """
            {"id": "someone/some-model", "sha": "0123456789abcdef0123456789abcdef01234567", "private": false, "siblings":
             [{"rfilename": "config.json"}, {"rfilename": "tokenizer.json"}, {"rfilename": "model.safetensors"},
              {"rfilename": "original/params.json"}]}""";

    private DriverReaders() {}

    /** Those that need no Spark, with valid files in {@code folder}. */
    static List<FuzzedReader> in(Path folder) throws IOException {
        Path driver = Files.createDirectories(folder.resolve("driver"));
        Path hardware = driver.resolve("hardware.yaml");
        Files.writeString(hardware, Files.readString(Path.of("..", "conf", "hardware.yaml")));
        Path listing = Files.writeString(driver.resolve("listing.json"), LISTING);
        ReadListing hub = ReadListing.of(listing, driver.resolve("cache"));
        return List.of(
                FuzzedReader.text("hardware.yaml", hardware, () -> ReadHardware.devices(hardware)),
                FuzzedReader.text("hub's list of files", listing, hub::model));
    }

    /** Parquet files in tasks of a Spark in this JVM, which takes a tenth of a second for each. */
    static FuzzedReader parquet(Path folder) throws IOException {
        SparkSession spark = SparkSession.builder()
                .config(new SparkConf(false)
                        .setMaster("local[1]")
                        .setAppName("fuzz")
                        .set("spark.ui.enabled", "false")
                        .set("spark.sql.shuffle.partitions", "1"))
                .getOrCreate();
        Path written = folder.resolve("parquet");
        StructType schema = new StructType()
                .add("instruction", "string")
                .add("input", "string")
                .add("output", "string")
                .add("scores", "array<double>")
                .add("meta", "struct<source: string, id: bigint>");
        spark.createDataFrame(
                        List.of(
                                RowFactory.create("Add", "1 and 2", "3", List.of(1.5), RowFactory.create("a", 1L)),
                                RowFactory.create("Say hello", null, "Hello", List.of(), null),
                                RowFactory.create("Count", "", "1 2 3", null, RowFactory.create(null, 3L))),
                        schema)
                .coalesce(1)
                .write()
                .parquet(written.toString());
        Path file = folder.resolve("rows.parquet");
        try (Stream<Path> files = Files.list(written)) {
            Files.copy(
                    files.filter(path -> path.toString().endsWith(".parquet"))
                            .findFirst()
                            .orElseThrow(),
                    file);
        }
        JavaSparkContext context = JavaSparkContext.fromSparkContext(spark.sparkContext());
        return FuzzedReader.binary("rows.parquet", file, () -> ReadFile.parquet(context, file));
    }
}
