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
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeSet;
import java.util.function.ToDoubleFunction;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.launch.LocalRanks;
import ulysses.driver.report.BenchPage;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TuningConfig;
import ulysses.runtime.data.PackedDataset;
import ulysses.runtime.data.PackedDatasetWriter;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.PackedShardWriter;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;

/**
 * Training steps of one setting on random tokens, with fresh rank processes for each length.
 *
 * @param settings what all settings share
 * @param setting what this one has
 * @param scratch a folder that may be written to
 * @param log where logs of ranks go
 */
record BenchRun(
        BenchSettings settings, BenchSettings.Setting setting, Path scratch, Configuration hadoop, PrintStream log) {

    private static final ObjectMapper JSON = new ObjectMapper();

    /** Steps of one length. */
    record Result(ObjectNode json, BenchPage.Step step) {}

    Result measure(int length) throws IOException, InterruptedException {
        Path model = Files.createDirectories(scratch.resolve("model"));
        Files.write(model.resolve(ModelDirectory.CONFIG), shape());
        ModelSpec shape = ModelDirectory.open(model.toString(), hadoop).spec();
        String rows = scratch.resolve("rows").toString();
        writeRows(rows, length, shape.vocabularySize());
        TrainingConfig config = config(length, rows);
        ModelSpec spec = shape.withAttention(config.model().attention());
        Listener listener = new Listener(settings.warmup());
        new LocalRanks(
                        TrainCommand.RANK_MAIN,
                        new RankMesh(setting.ranks(), setting.ranks()),
                        settings.threads(),
                        scratch)
                .run(config, rows, listener::accept, log);
        return new Result(
                result(length, spec, listener),
                new BenchPage.Step(
                        setting.label(),
                        length,
                        listener.median(RankEvent.Step::seconds),
                        listener.last().peakBytes(),
                        listener.medianParts()));
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
                                "shape %s: neither a folder with a config.json nor smollm2-135m, llama-60m, qwen2.5-0.5b, llama-8b-4-layers, long-4-layers or tiny"
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
        yaml.put("activation_memory", setting.activationMemory()).put("zero_stage", setting.zeroStage());
        settings.keys().forEach(yaml::put);
        yaml.put("sequence_parallel_size", setting.ranks()).put("logging_steps", 1);
        yaml.put("device", settings.cuda() ? "cuda" : "cpu");
        Path file = scratch.resolve("bench.json");
        Files.write(file, JSON.writeValueAsBytes(yaml));
        TrainingConfig config = ConfigFile.load(ConfigFile.Sources.ofFile(file.toString()), hadoop)
                .config();
        return settings.loraRank() == 0 ? config : config.withTuning(adapter(settings.loraRank()));
    }

    /** A run would not train one beside random weights; for time and memory they do. */
    private static TuningConfig adapter(int rank) {
        return new TuningConfig.Lora(
                TuningConfig.Stage.PT,
                rank,
                2 * rank,
                0,
                List.of(TuningConfig.Lora.ALL),
                List.of(),
                false,
                1,
                List.of(),
                false);
    }

    private ObjectNode result(int length, ModelSpec spec, Listener listener) {
        ObjectNode result = JSON.createObjectNode();
        result.put("shape", settings.shape())
                .put("parameters", spec.parameterCount())
                .put("seq", length);
        result.put("ranks", setting.ranks()).put("threads_per_rank", settings.threads());
        result.put("device", settings.cuda() ? "cuda" : "cpu");
        result.put("dtype", settings.bf16() ? "bf16" : "fp32").put("activation_memory", setting.activationMemory());
        result.put("lora_rank", settings.loraRank()).put("zero_stage", setting.zeroStage());
        settings.keys().forEach(result::put);
        result.put("docs", settings.documents()).put("steps", listener.steps.size());
        double[] seconds = sorted(listener.steps, RankEvent.Step::seconds);
        double typical = median(seconds);
        result.putObject("seconds_per_step")
                .put("median", typical)
                .put("min", seconds[0])
                .put("max", seconds[seconds.length - 1]);
        result.put("tokens_per_second", length / typical);
        result.put("useful_tflop_per_second", listener.operations() / typical / 1e12);
        ObjectNode parts = result.putObject("median_seconds");
        parts.put("compute", median(sorted(listener.parts, RankEvent.Measured::computeSeconds)));
        listener.medianParts().forEach(parts::put);
        result.put("peak_memory_bytes_rank_0", listener.last().peakBytes());
        result.put(
                "exchange_bytes_per_step_rank_0",
                listener.parts.get(listener.parts.size() - 1).exchangeBytes());
        result.put("loss", listener.last().loss());
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

        /** That each step needs; all have the same rows. */
        double operations() {
            return parts.get(parts.size() - 1).operations();
        }

        RankEvent.Step last() {
            return steps.get(steps.size() - 1);
        }

        double median(ToDoubleFunction<RankEvent.Step> number) {
            return BenchRun.median(sorted(steps, number));
        }

        /** Parts of compute, then what follows it; waiting is a part of the others. */
        Map<String, Double> medianParts() {
            Map<String, Double> medians = new LinkedHashMap<>();
            TreeSet<String> names = new TreeSet<>();
            parts.forEach(part -> names.addAll(part.phases().keySet()));
            for (String name : names) {
                medians.put(
                        name,
                        BenchRun.median(sorted(parts, part -> part.phases().getOrDefault(name, 0.0))));
            }
            medians.put("reduce", BenchRun.median(sorted(parts, RankEvent.Measured::reduceSeconds)));
            medians.put("optimizer", BenchRun.median(sorted(parts, RankEvent.Measured::optimizerSeconds)));
            medians.put("waiting", BenchRun.median(sorted(parts, part -> part.waitShare() * part.computeSeconds())));
            return medians;
        }
    }
}
