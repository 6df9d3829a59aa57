package ulysses.driver.packing;

import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.util.SerializableConfiguration;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import ulysses.driver.dataset.DatasetRegistry;
import ulysses.driver.dataset.DatasetRows;
import ulysses.driver.dataset.SourceRow;
import ulysses.driver.packing.EncodeRows.Membership;
import ulysses.driver.packing.ShardResult.Tally;
import ulysses.driver.tokenizer.Tokenizer;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TrainingConfig.Packing;
import ulysses.runtime.config.TuningConfig;
import ulysses.runtime.data.DataException;
import ulysses.runtime.data.PackedDataset.Content;
import ulysses.runtime.data.PackedDatasetWriter;
import ulysses.runtime.data.PackedManifest;
import ulysses.runtime.mesh.EvaluationSet;
import ulysses.runtime.weights.StorageException;

/**
 * The Spark job that makes packed rows of data sets: rows are read and encoded where they lie, sent to the shard that their number
 * says, and packed there. What comes out depends on data and settings only, not on executors, partitions or retries.
 */
public final class PrepareDataset {
    private static final Logger LOG = LoggerFactory.getLogger(PrepareDataset.class);

    private final JavaSparkContext spark;
    private final Configuration hadoop;
    private final TrainingConfig config;
    private final Tokenizer tokenizer;
    private final PreparedFolder folder;

    private PrepareDataset(SparkSession spark, TrainingConfig config, Tokenizer tokenizer) throws IOException {
        this.spark = JavaSparkContext.fromSparkContext(spark.sparkContext());
        this.hadoop = spark.sparkContext().hadoopConfiguration();
        this.config = config;
        this.tokenizer = tokenizer;
        this.folder = new PreparedFolder(folder(config), hadoop);
    }

    /** Where the prepared rows of a run lie: {@code tokenized_path}, {@code prepared_dir} or a folder in {@code output_dir}. */
    public static String folder(TrainingConfig config) {
        TrainingConfig.Data data = config.data();
        if (data.tokenizedPath() != null) {
            return data.tokenizedPath();
        }
        return data.preparedDirectory() != null
                ? data.preparedDirectory()
                : config.output().outputDir() + "/prepared";
    }

    /** The setting that says where. */
    private static String key(TrainingConfig config) {
        TrainingConfig.Data data = config.data();
        if (data.tokenizedPath() != null) {
            return "tokenized_path";
        }
        return data.preparedDirectory() != null ? "prepared_dir" : "output_dir";
    }

    /**
     * Prepares the data of a run, or finds it prepared: in {@code tokenized_path} whatever is there is taken, elsewhere what was
     * made from the same data with the same settings.
     *
     * @throws DataException if the data can't be used, or no row is left
     */
    public static PreparedData prepare(SparkSession spark, TrainingConfig config, Tokenizer tokenizer) {
        Optional<PreparedData> tokenized = tokenized(spark, config);
        if (tokenized.isPresent()) {
            return tokenized.get();
        }
        try {
            return new PrepareDataset(spark, config, tokenizer).run();
        } catch (IOException e) {
            throw unusable(config, e);
        }
    }

    /**
     * What lies in {@code tokenized_path}, whoever made it; no tokenizer is needed for it. Empty when the key is not set, or when
     * there is nothing yet and data sets are named that can be prepared.
     *
     * @throws DataException if something else lies there, or nothing and no data set is named
     */
    public static Optional<PreparedData> tokenized(SparkSession spark, TrainingConfig config) {
        @Nullable String path = config.data().tokenizedPath();
        if (path == null) {
            return Optional.empty();
        }
        try {
            Configuration hadoop = spark.sparkContext().hadoopConfiguration();
            Optional<PreparedData> found = new PreparedFolder(path, hadoop).tokenized();
            if (found.isEmpty() && config.data().dataset().isEmpty()) {
                throw new DataException(
                        "tokenized_path %s holds no tokenized data, and no dataset is named; check the path, or name a dataset to prepare there"
                                .formatted(path));
            }
            return found;
        } catch (IOException e) {
            throw unusable(config, e);
        }
    }

    private static StorageException unusable(TrainingConfig config, IOException e) {
        return new StorageException(
                "%s: %s, or what data sets name, can't be read (%s: %s); check the path, its permissions and the disk"
                        .formatted(key(config), folder(config), e.getClass().getSimpleName(), e.getMessage()),
                e);
    }

    private PreparedData run() throws IOException {
        DatasetRegistry registry = DatasetRegistry.open(
                config.data().datasetDir(),
                Optional.ofNullable(config.output().day()).map(TrainingConfig.Day::date),
                hadoop);
        DatasetRegistry.Kind kind =
                content() == Content.PAIRS ? DatasetRegistry.Kind.PREFERENCES : DatasetRegistry.Kind.TEXTS;
        registry.require(config.data().dataset(), kind);
        registry.require(config.data().evalDataset(), kind);
        String fingerprint = DataFingerprint.of(config, tokenizer, registry, hadoop);
        if (!config.data().overwriteCache()) {
            Optional<PreparedData> there = folder.reusable(fingerprint, spark);
            if (there.isPresent()) {
                return there.get();
            }
        }
        folder.open(key(config));
        try {
            return folder.complete(make(registry, fingerprint));
        } catch (Exception e) { // Scala code throws SparkException without declaring it
            throw reason(e);
        }
    }

    private PrepareReport make(DatasetRegistry registry, String fingerprint) throws IOException {
        DatasetRows.Seeds seeds = DatasetRows.Seeds.of(config.step().seed());
        RowSet all = rows(registry, config.data().dataset(), folder.train(), seeds);
        Map<String, PrepareReport.Part> eval = new LinkedHashMap<>();
        PrepareReport.Part train;
        if (config.evaluation().validationSize() > 0) {
            double size = config.evaluation().validationSize();
            long validation = ValidationSplit.validationRows(all.count(), size);
            Broadcast<ValidationSplit> split = spark.broadcast(
                    ValidationSplit.of(all.count(), size, config.step().seed()));
            EvaluationSet held = folder.eval(EvaluationSet.ALL);
            eval.put(held.name(), pack(all.part(validation, Membership.validation(split), held.folder()), fingerprint));
            train = pack(all.part(all.count() - validation, Membership.training(split), folder.train()), fingerprint);
            split.destroy();
        } else {
            for (Map.Entry<String, List<String>> set : evaluationSets().entrySet()) {
                EvaluationSet target = folder.eval(set.getKey());
                eval.put(target.name(), pack(rows(registry, set.getValue(), target.folder(), seeds), fingerprint));
            }
            train = pack(all, fingerprint);
        }
        return new PrepareReport(PrepareReport.VERSION, fingerprint, tokenizer.fingerprint(), train, eval);
    }

    /** Datasets of each evaluation set, by its name. */
    private Map<String, List<String>> evaluationSets() {
        List<String> datasets = config.data().evalDataset();
        Map<String, List<String>> sets = new LinkedHashMap<>();
        if (config.data().evalOnEachDataset()) {
            datasets.forEach(dataset -> sets.put(EvaluationSet.nameOf(dataset), List.of(dataset)));
        } else if (!datasets.isEmpty()) {
            sets.put(EvaluationSet.ALL, datasets);
        }
        return sets;
    }

    private RowSet rows(DatasetRegistry registry, List<String> names, String target, DatasetRows.Seeds seeds)
            throws IOException {
        DatasetRows.Mixed mixed = DatasetRows.read(spark, registry, names, config.data(), seeds);
        long bytes = InputFiles.of(names, registry, hadoop).bytes();
        return new RowSet(mixed.rows(), mixed.count(), bytes, Membership.all(), target);
    }

    /** LLaMA-Factory's packing leaves one place of a row to padding, so conversations are cut one token earlier. */
    private ExampleEncoder encoder() {
        EncodingRules rules = EncodingRules.of(config);
        int capacity = content() == Content.PAIRS
                ? config.data().cutoffLength()
                : shape(-1).capacity(config.data().packing());
        return new ExampleEncoder(
                new EncodingRules(
                        rules.stage(),
                        rules.template(),
                        rules.templateFile(),
                        capacity,
                        rules.cutsTexts(),
                        rules.trainsOnPrompt(),
                        rules.masksHistory(),
                        rules.splitsSpecialTokens(),
                        rules.chat()),
                tokenizer);
    }

    private RowMaker.Shape shape(int padId) {
        int blockStart = tokenizer.addsBos()
                ? tokenizer.bosToken().map(tokenizer::id).orElseThrow().orElseThrow()
                : -1;
        return new RowMaker.Shape(config.rowTokens(), config.data().preprocessingBatchSize(), padId, blockStart);
    }

    private Content content() {
        return config.tuning().stage() == TuningConfig.Stage.DPO ? Content.PAIRS : Content.TEXTS;
    }

    /**
     * Rows that become one folder.
     *
     * @param rows rows of the set, and perhaps others
     * @param count how many belong to the set
     * @param bytes of the files they come from
     * @param membership which ones
     * @param folder where they go
     */
    private record RowSet(JavaRDD<SourceRow> rows, long count, long bytes, Membership membership, String folder) {
        private RowSet part(long members, Membership which, String target) {
            return new RowSet(rows, members, (long) (bytes * ((double) members / count)), which, target);
        }
    }

    private PrepareReport.Part pack(RowSet set, String fingerprint) throws IOException {
        PackedDatasetWriter.of(set.folder(), hadoop).clear();
        ExampleEncoder encoder = encoder();
        TrainingConfig.Data data = config.data();
        ShardPlan plan = ShardPlan.of(
                data.packing(),
                set.count(),
                set.bytes(),
                data.preprocessingBatchSize(),
                config.step().seed());
        ShardTask.Target target = new ShardTask.Target(
                set.folder(),
                plan.shards(),
                data.packing(),
                content(),
                shape(encoder.padId()),
                config.tuning().stage() == TuningConfig.Stage.PT && data.packing() != Packing.NONE,
                new SerializableConfiguration(hadoop));
        List<ShardResult> results = set.rows()
                .flatMapToPair(new EncodeRows(encoder, set.membership(), plan))
                .repartitionAndSortWithinPartitions(new Place.ByShard(plan.shards()))
                .mapPartitionsWithIndex(new ShardTask(target), false)
                .collect();
        List<ShardResult> ordered =
                results.stream().sorted(ShardResult.BY_INDEX).toList();
        Tally tally = Tally.of(ordered);
        refuseEmpty(set, ordered, tally);
        PackedDatasetWriter.Origin origin = new PackedDatasetWriter.Origin(
                config.rowTokens(), data.packing().name(), content(), tokenizer.fingerprint(), fingerprint);
        PackedManifest manifest = PackedDatasetWriter.of(set.folder(), hadoop)
                .commit(ordered.stream().map(ShardResult::shard).toList(), origin);
        PrepareReport.Part part = part(set, tally, manifest);
        LOG.info("prepared {}: {}", set.folder(), part.summary());
        return part;
    }

    private static void refuseEmpty(RowSet set, List<ShardResult> results, Tally tally) {
        long rows = results.stream()
                .mapToLong(result -> result.shard().written().counts().rows())
                .sum();
        if (rows > 0) {
            return;
        }
        String reasons = tally.dropped().entrySet().stream()
                .map(reason -> "%d: %s".formatted(reason.getValue().count(), reason.getKey()))
                .collect(Collectors.joining("; "));
        if (tally.leftOutTokens() > 0) {
            reasons = "%d tokens don't fill one row of cutoff_len; lower cutoff_len, or use packing_mode: best_fit"
                    .formatted(tally.leftOutTokens());
        }
        throw new DataException("no row is left of the %d that were read for %s%s"
                .formatted(
                        set.count(),
                        set.folder(),
                        reasons.isEmpty() ? "; name a dataset that has rows" : " (" + reasons + ")"));
    }

    private PrepareReport.Part part(RowSet set, Tally tally, PackedManifest manifest) {
        Map<String, Long> otherwise = new TreeMap<>(tally.packedRowsOtherwise());
        otherwise.remove(manifest.packing());
        return new PrepareReport.Part(
                manifest.packing(),
                manifest.cutoffLength(),
                set.count(),
                tally.kept(),
                tally.dropped(),
                tally.truncated(),
                tally.truncatedTokens(),
                tally.leftOutTokens(),
                manifest.documents(),
                manifest.tokens(),
                manifest.trainedTokens(),
                manifest.rows(),
                manifest.tokens() / ((double) manifest.rows() * manifest.cutoffLength()),
                otherwise);
    }

    /** What the user should read: a failed job carries the exception of the task as its cause. */
    private RuntimeException reason(Exception failure) {
        Optional<DataException> data = DatasetRows.dataException(failure);
        if (data.isPresent()) {
            return data.get();
        }
        if (StorageException.saysThatDiskIsFull(failure)) {
            return new StorageException(
                    "rows can't be written to %s: %s; a disk is full, that one or one of spark.local.dir: free space there, or name another tokenized_path, then run the same command again"
                            .formatted(folder, DatasetRows.deepest(failure).getMessage()),
                    failure);
        }
        return failure instanceof RuntimeException runtime
                ? runtime
                : new IllegalStateException("data can't be prepared: " + failure.getMessage(), failure);
    }
}
