package ulysses.job;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.PrintStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Random;
import java.util.function.ToDoubleFunction;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.launch.LocalRanks;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.PackedDataset;
import ulysses.runtime.data.PackedDatasetWriter;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.PackedShardWriter;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;

/**
 * {@code bench}: times training steps on random tokens with the processes that train, and prints one JSON object a length. Nothing is
 * kept.
 */
final class BenchCommand {

    private static final ObjectMapper JSON = new ObjectMapper();

    private final BenchSettings settings;
    private final Path scratch;
    private final Configuration hadoop;

    private BenchCommand(BenchSettings settings, Path scratch, Configuration hadoop) {
        this.settings = settings;
        this.scratch = scratch;
        this.hadoop = hadoop;
    }

    static int run(CommandLine commandLine, Configuration hadoop, PrintStream out)
            throws IOException, InterruptedException {
        BenchSettings settings = BenchSettings.of(commandLine);
        for (int length : settings.lengths()) {
            Path scratch = Files.createTempDirectory("ulysses-bench");
            try {
                ObjectNode result = new BenchCommand(settings, scratch, hadoop).measure(length);
                out.println(JSON.writerWithDefaultPrettyPrinter().writeValueAsString(result));
            } finally {
                delete(scratch);
            }
        }
        return 0;
    }

    private ObjectNode measure(int length) throws IOException, InterruptedException {
        Path model = Files.createDirectories(scratch.resolve("model"));
        Files.write(model.resolve(ModelDirectory.CONFIG), shape());
        ModelSpec spec = ModelDirectory.open(model.toString(), hadoop).spec();
        String rows = scratch.resolve("rows").toString();
        writeRows(rows, length, spec.vocabularySize());
        Listener listener = new Listener(settings.warmup());
        new LocalRanks(
                        TrainCommand.RANK_MAIN,
                        new RankMesh(settings.ranks(), settings.ranks()),
                        settings.threads(),
                        scratch)
                .run(config(length, rows), rows, listener::accept, System.err);
        return result(length, spec, listener);
    }

    private byte[] shape() throws IOException {
        Path given = Path.of(settings.shape(), ModelDirectory.CONFIG);
        if (Files.exists(given)) {
            return Files.readAllBytes(given);
        }
        try (InputStream known = BenchCommand.class.getResourceAsStream("shapes/" + settings.shape() + ".json")) {
            if (known == null) {
                throw new ConfigException(
                        "bench",
                        List.of(
                                "shape %s: neither a folder with a config.json nor smollm2-135m, llama-60m, qwen2.5-0.5b, llama-8b-4-layers or tiny"
                                        .formatted(settings.shape())));
            }
            return known.readAllBytes();
        }
    }

    private void writeRows(String folder, int length, int vocabulary) throws IOException {
        Random random = new Random(0);
        PackedDatasetWriter writer = PackedDatasetWriter.of(folder, hadoop);
        String shard = PackedDatasetWriter.shardName(0, 1);
        try (PackedShardWriter rows = writer.shard(shard)) {
            for (int row = 0; row < settings.warmup() + settings.steps(); row++) {
                rows.add(row(random, length, vocabulary));
            }
            writer.commit(
                    List.of(new PackedDatasetWriter.Shard(shard, rows.finish())),
                    new PackedDatasetWriter.Origin(length, "bench", PackedDataset.Content.TEXTS, "none", "bench"));
        }
    }

    private PackedRow row(Random random, int length, int vocabulary) {
        int[] ids = random.ints(length, 0, vocabulary).toArray();
        int[] labels = new int[length];
        int[] documents = new int[settings.documents()];
        Arrays.fill(labels, PackedRow.IGNORE_INDEX);
        for (int d = 0; d < documents.length; d++) {
            int start = (int) ((long) length * d / documents.length);
            int end = (int) ((long) length * (d + 1) / documents.length);
            documents[d] = end - start;
            int trained = (int) Math.round(documents[d] * settings.trainedShare());
            System.arraycopy(ids, end - trained, labels, end - trained, trained);
        }
        return new PackedRow(ids, labels, documents);
    }

    private TrainingConfig config(int length, String rows) throws IOException {
        ObjectNode yaml = JSON.createObjectNode();
        yaml.put("stage", "pt").put("finetuning_type", "full").put("do_train", true);
        yaml.put("model_name_or_path", scratch.resolve("model").toString()).put("train_from_scratch", true);
        yaml.put("tokenized_path", rows).put("dataset", "bench").put("cutoff_len", length);
        yaml.put("output_dir", scratch.resolve("out").toString()).put("save_strategy", "no");
        yaml.put("per_device_train_batch_size", 1).put("disable_shuffling", true);
        yaml.put("max_steps", settings.warmup() + settings.steps()).put("learning_rate", 1e-5);
        yaml.put("lr_scheduler_type", "constant").put("bf16", settings.bf16());
        yaml.put("activation_memory", settings.activationMemory());
        yaml.put("sequence_parallel_size", settings.ranks()).put("logging_steps", 1);
        yaml.put("device", settings.cuda() ? "cuda" : "cpu");
        Path file = scratch.resolve("bench.json");
        Files.write(file, JSON.writeValueAsBytes(yaml));
        return ConfigFile.load(ConfigFile.Sources.ofFile(file.toString()), hadoop)
                .config();
    }

    private ObjectNode result(int length, ModelSpec spec, Listener listener) {
        ObjectNode result = JSON.createObjectNode();
        result.put("shape", settings.shape())
                .put("parameters", spec.parameterCount())
                .put("seq", length);
        result.put("ranks", settings.ranks()).put("threads_per_rank", settings.threads());
        result.put("device", settings.cuda() ? "cuda" : "cpu");
        result.put("dtype", settings.bf16() ? "bf16" : "fp32").put("activation_memory", settings.activationMemory());
        result.put("docs", settings.documents()).put("steps", listener.steps.size());
        double[] seconds = sorted(listener.steps, RankEvent.Step::seconds);
        result.putObject("seconds_per_step")
                .put("median", median(seconds))
                .put("min", seconds[0])
                .put("max", seconds[seconds.length - 1]);
        result.put("tokens_per_second", length / median(seconds));
        result.put(
                "useful_tflop_per_second",
                spec.flopsPerToken((double) length / settings.documents()) * length / median(seconds) / 1e12);
        result.putObject("median_seconds")
                .put("compute", median(sorted(listener.parts, RankEvent.Measured::computeSeconds)))
                .put("reduce", median(sorted(listener.parts, RankEvent.Measured::reduceSeconds)))
                .put("optimizer", median(sorted(listener.parts, RankEvent.Measured::optimizerSeconds)));
        RankEvent.Step last = listener.steps.get(listener.steps.size() - 1);
        result.put("peak_memory_bytes_rank_0", last.peakBytes());
        result.put(
                "exchange_bytes_per_step_rank_0",
                listener.parts.get(listener.parts.size() - 1).exchangeBytes());
        result.put("loss", last.loss());
        return result;
    }

    private static <T> double[] sorted(List<T> events, ToDoubleFunction<T> number) {
        return events.stream().mapToDouble(number).sorted().toArray();
    }

    private static double median(double[] sorted) {
        int middle = sorted.length / 2;
        return sorted.length % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
    }

    /** Collects the steps after the warm-up. */
    private static final class Listener {
        private final List<RankEvent.Step> steps = new ArrayList<>();
        private final List<RankEvent.Measured> parts = new ArrayList<>();
        private final int warmup;

        Listener(int warmup) {
            this.warmup = warmup;
        }

        void accept(RankEvent event) {
            if (event instanceof RankEvent.Step step && step.step() > warmup) {
                steps.add(step);
            } else if (event instanceof RankEvent.Measured part && part.step() > warmup) {
                parts.add(part);
            }
        }
    }

    private static void delete(Path folder) throws IOException {
        List<Path> paths;
        try (Stream<Path> walk = Files.walk(folder)) {
            paths = walk.sorted(Comparator.reverseOrder()).toList();
        }
        for (Path path : paths) {
            Files.delete(path);
        }
    }
}
