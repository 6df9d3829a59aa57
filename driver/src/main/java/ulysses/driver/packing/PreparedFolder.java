package ulysses.driver.packing;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.UUID;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FileSystem;
import org.apache.hadoop.fs.LocalFileSystem;
import org.apache.hadoop.fs.Path;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.util.SerializableConfiguration;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import ulysses.runtime.data.DataException;
import ulysses.runtime.data.PackedManifest;
import ulysses.runtime.mesh.EvaluationSet;
import ulysses.runtime.weights.StorageException;

/**
 * A folder of prepared data: {@code train}, perhaps {@code eval} or {@code eval_DATASET} for each, dataset_dict.json, which makes it a DatasetDict of Hugging Face,
 * and the report, which comes last and makes it complete.
 */
final class PreparedFolder {
    private static final Logger LOG = LoggerFactory.getLogger(PreparedFolder.class);
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final String SPLITS = "dataset_dict.json";
    private static final String STATE = "state.json";

    private final FileSystem fileSystem;
    private final Path folder;
    private final Configuration hadoop;

    PreparedFolder(String folder, Configuration hadoop) throws IOException {
        Path path = new Path(folder);
        FileSystem found = path.getFileSystem(hadoop);
        this.fileSystem = found instanceof LocalFileSystem local ? local.getRaw() : found;
        this.folder = fileSystem.makeQualified(path);
        this.hadoop = hadoop;
    }

    String train() {
        return new Path(folder, "train").toString();
    }

    EvaluationSet eval(String name) {
        return new EvaluationSet(name, new Path(folder, name).toString());
    }

    /** What is there, if it was made from the same data and is whole. */
    Optional<PreparedData> reusable(String dataFingerprint, JavaSparkContext spark) throws IOException {
        Optional<PrepareReport> report = text(PrepareReport.FILE_NAME).flatMap(PrepareReport::parse);
        if (report.isEmpty()) {
            LOG.info("no complete prepared data in {}: preparing", folder);
            return Optional.empty();
        }
        if (!report.get().dataFingerprint().equals(dataFingerprint)) {
            LOG.info("data, tokenizer or settings changed since {} was prepared: preparing again", folder);
            return Optional.empty();
        }
        List<EvaluationSet> sets = sets(report.get());
        Optional<String> problem = problem(train(), dataFingerprint, spark);
        for (int i = 0; i < sets.size() && problem.isEmpty(); i++) {
            problem = problem(sets.get(i).folder(), dataFingerprint, spark);
        }
        if (problem.isPresent()) {
            LOG.warn("prepared data in {} is damaged: {}; preparing again", folder, problem.get());
            return Optional.empty();
        }
        LOG.info("reusing prepared data in {}: {}", folder, report.get().train().summary());
        return Optional.of(new PreparedData(train(), sets, report, true));
    }

    private List<EvaluationSet> sets(PrepareReport report) {
        return report.eval().keySet().stream().map(this::eval).toList();
    }

    /** What is wrong with a set; every file is read by a task of Spark. */
    private Optional<String> problem(String set, String dataFingerprint, JavaSparkContext spark) throws IOException {
        Optional<PackedManifest> manifest;
        try {
            manifest = PackedManifest.read(set, hadoop);
        } catch (DataException e) {
            return Optional.of(String.valueOf(e.getMessage()));
        }
        if (manifest.isEmpty()) {
            return Optional.of(set + " has no manifest");
        }
        if (!manifest.get().dataFingerprint().equals(dataFingerprint)) {
            return Optional.of(set + " was made from other data than its report says");
        }
        List<PackedManifest.FileEntry> files = manifest.get().files();
        SerializableConfiguration configuration = new SerializableConfiguration(hadoop);
        List<String> problems = spark.parallelize(files, files.size())
                .map(file -> file.problem(set, configuration.value()).orElse(""))
                .filter(found -> !found.isEmpty())
                .collect();
        return problems.stream().findFirst();
    }

    /**
     * The rows that {@code tokenized_path} holds, ours or another program's; empty if there are none yet.
     *
     * @throws DataException if there is something else
     */
    Optional<PreparedData> tokenized() throws IOException {
        Optional<byte[]> splits = text(SPLITS);
        if (text(PackedManifest.FILE_NAME).isPresent() || text(STATE).isPresent()) {
            return Optional.of(loaded(folder.toString(), List.of()));
        }
        if (splits.isPresent()) {
            List<String> names = names(splits.get());
            if (!names.contains("train")) {
                throw new DataException(
                        "tokenized_path %s holds the data sets %s but no train; name one of its subfolders"
                                .formatted(folder, names));
            }
            return Optional.of(
                    loaded(train(), names.stream().flatMap(this::evaluated).toList()));
        }
        refuseOtherContent();
        return Optional.empty();
    }

    /** LLaMA-Factory calls its sets validation, or validation_DATASET. */
    private Stream<EvaluationSet> evaluated(String split) {
        return Stream.of("validation", EvaluationSet.ALL)
                .filter(prefix -> split.equals(prefix) || split.startsWith(prefix + "_"))
                .map(prefix -> new EvaluationSet(
                        EvaluationSet.ALL + split.substring(prefix.length()), new Path(folder, split).toString()));
    }

    private PreparedData loaded(String train, List<EvaluationSet> eval) throws IOException {
        LOG.info(
                "using the tokenized data in {}; settings of datasets, template and packing have no effect on it",
                folder);
        return new PreparedData(train, eval, text(PrepareReport.FILE_NAME).flatMap(PrepareReport::parse), true);
    }

    private List<String> names(byte[] splits) {
        List<String> names = new ArrayList<>();
        try {
            for (JsonNode name : JSON.readTree(splits).path("splits")) {
                names.add(name.asText());
            }
        } catch (IOException damaged) { // the bytes are in memory
            String reason =
                    String.valueOf(damaged.getMessage()).lines().findFirst().orElse("");
            throw new DataException(
                    "%s is not valid JSON: %s; write the folder again with datasets.save_to_disk"
                            .formatted(new Path(folder, SPLITS), reason),
                    damaged);
        }
        return names;
    }

    /** A run that was stopped leaves subfolders of ours; anything else is not ours to write into. */
    private void refuseOtherContent() throws IOException {
        if (!fileSystem.exists(folder)) {
            return;
        }
        for (FileStatus file : fileSystem.listStatus(folder)) {
            if (!file.getPath().getName().matches("train|eval(_.+)?")) {
                throw new DataException(
                        "tokenized_path %s holds no tokenized data but %s; name a new folder, or one that"
                                        .formatted(folder, file.getPath().getName())
                                + " datasets.save_to_disk or an earlier run wrote");
            }
        }
    }

    /**
     * Takes away what makes the folder complete, and finds out whether it can be written to.
     *
     * @param key the setting that names it
     * @throws StorageException if it can't
     */
    void open(String key) {
        try {
            Path probe = new Path(train(), ".probe-" + UUID.randomUUID());
            fileSystem.mkdirs(probe.getParent());
            fileSystem.create(probe, false).close();
            fileSystem.delete(probe, false);
            fileSystem.delete(new Path(folder, PrepareReport.FILE_NAME), false);
            fileSystem.delete(new Path(folder, SPLITS), false);
        } catch (IOException e) {
            throw new StorageException(
                    "%s: prepared rows can't be written to %s (%s: %s); choose a folder that this user can write to, reachable from every host"
                            .formatted(key, folder, e.getClass().getSimpleName(), e.getMessage()),
                    e);
        }
    }

    /** Makes the folder complete. */
    PreparedData complete(PrepareReport report) throws IOException {
        List<String> splits = new ArrayList<>(List.of("train"));
        splits.addAll(report.eval().keySet());
        write(SPLITS, JSON.writeValueAsBytes(Map.of("splits", splits)));
        write(PrepareReport.FILE_NAME, report.toBytes());
        return new PreparedData(train(), sets(report), Optional.of(report), false);
    }

    private void write(String name, byte[] bytes) throws IOException {
        try (OutputStream out = fileSystem.create(new Path(folder, name), true)) {
            out.write(bytes);
        }
    }

    private Optional<byte[]> text(String name) throws IOException {
        try (InputStream in = fileSystem.open(new Path(folder, name))) {
            return Optional.of(in.readAllBytes());
        } catch (FileNotFoundException e) {
            return Optional.empty();
        }
    }

    @Override
    public String toString() {
        return folder.toString();
    }
}
