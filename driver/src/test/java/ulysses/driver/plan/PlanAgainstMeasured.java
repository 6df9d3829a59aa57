package ulysses.driver.plan;

import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.launch.LocalRanks;
import ulysses.driver.plan.HardwareProfile.Machine;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.PackedDataset;
import ulysses.runtime.data.PackedDatasetWriter;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.PackedShardWriter;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.TunedModel;

/**
 * By hand: what the plan says of a rank's peak memory beside what rank 0 of real processes takes, for the table of
 * executor-runtime/README.md. Arguments: an empty folder, and of which settings to take only the ones that hold this text (optional).
 */
final class PlanAgainstMeasured {

    private static final int STEPS = 2;
    private static final int VOCABULARY = 16_384;

    /** Ranks, tokens of a row, keys. */
    private record Setting(int ranks, int tokens, String keys) {}

    private static final List<Setting> SETTINGS = List.of(
            new Setting(1, 512, ""),
            new Setting(1, 2048, ""),
            new Setting(1, 4096, ""),
            new Setting(1, 2048, "activation_memory=none"),
            new Setting(1, 2048, "activation_memory=full"),
            new Setting(1, 512, "save_strategy=steps save_steps=1"),
            new Setting(1, 1024, "per_device_train_batch_size=2"),
            new Setting(2, 2048, ""),
            new Setting(2, 2048, "activation_memory=full"),
            new Setting(2, 1024, "zero_stage=1"),
            new Setting(2, 1024, "zero_stage=2"),
            new Setting(2, 1024, "zero_stage=3"),
            new Setting(2, 1024, "zero_stage=2 save_strategy=steps save_steps=1"),
            new Setting(1, 2048, "bf16=true"),
            new Setting(1, 4096, "offload_activations=true"));

    private PlanAgainstMeasured() {}

    public static void main(String[] arguments) throws IOException, InterruptedException {
        Path folder = Path.of(arguments[0]).toAbsolutePath();
        Files.createDirectories(folder.resolve("model"));
        Files.writeString(folder.resolve("model/config.json"), """
                {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 512, "intermediate_size": 1536,
                 "num_hidden_layers": 8, "num_attention_heads": 8, "num_key_value_heads": 4, "vocab_size": %d,
                 "hidden_act": "silu", "rms_norm_eps": 1e-5, "max_position_embeddings": 16384, "rope_theta": 100000.0,
                 "initializer_range": 0.02, "tie_word_embeddings": true}
                """.formatted(VOCABULARY));
        System.out.println("| ranks | tokens | keys | plan, MiB | measured, MiB | plan / measured |");
        System.out.println("|--|--|--|--|--|--|");
        int number = 0;
        for (Setting setting : SETTINGS) {
            Path own = folder.resolve("run-" + number++);
            if (arguments.length == 1 || setting.toString().contains(arguments[1])) {
                row(setting, folder.resolve("model"), own);
            }
        }
    }

    private static void row(Setting setting, Path model, Path folder) throws IOException, InterruptedException {
        String rows = folder.resolve("rows").toString();
        Files.createDirectories(folder);
        writeRows(rows, setting.tokens());
        TrainingConfig config = config(setting, model, folder, rows);
        HardwareProfile processor = HardwareProfile.all().stream()
                .filter(HardwareProfile::isCpu)
                .findFirst()
                .orElseThrow()
                .shareOf(new Machine(2, 24L << 30), setting.ranks());
        TunedModel tuned = TunedModel.of(
                config,
                ModelDirectory.open(model.toString(), new Configuration()).spec(),
                new Configuration());
        MemoryEstimate plan = MemoryEstimate.of(RunShape.of(config, tuned).on(Device.CPU), processor);
        AtomicLong peak = new AtomicLong();
        PrintStream log = new PrintStream(OutputStream.nullOutputStream(), false, StandardCharsets.UTF_8);
        new LocalRanks("ulysses.runtime.training.RankMain", new RankMesh(setting.ranks(), setting.ranks()), 1, folder)
                .run(
                        config,
                        rows,
                        event -> {
                            if (event instanceof RankEvent.Step step) {
                                peak.accumulateAndGet(step.peakBytes(), Math::max);
                            }
                        },
                        log);
        System.out.printf(
                Locale.ROOT,
                "| %d | %d | %s | %d | %d | %.2f |%n",
                setting.ranks(),
                setting.tokens(),
                setting.keys().isEmpty()
                        ? ""
                        : "`" + setting.keys().replace(" ", "`, `").replace("=", ": ") + "`",
                plan.peak() >> 20,
                peak.get() >> 20,
                (double) plan.peak() / peak.get());
    }

    private static void writeRows(String folder, int length) throws IOException {
        Random random = new Random(0);
        PackedDatasetWriter writer = PackedDatasetWriter.of(folder, new Configuration());
        String shard = PackedDatasetWriter.shardName(0, 1);
        try (PackedShardWriter rows = writer.shard(shard)) {
            for (int row = 0; row < 2 * STEPS; row++) {
                int[] ids = random.ints(length, 0, VOCABULARY).toArray();
                rows.add(new PackedRow(ids, ids.clone(), new int[] {length}));
            }
            writer.commit(
                    List.of(new PackedDatasetWriter.Shard(shard, rows.finish())),
                    new PackedDatasetWriter.Origin(length, "memory", PackedDataset.Content.TEXTS, "none", "memory"));
        }
    }

    private static TrainingConfig config(Setting setting, Path model, Path folder, String rows) throws IOException {
        Path yaml = Files.writeString(folder.resolve("train.yaml"), """
                stage: pt
                finetuning_type: full
                train_from_scratch: true
                dataset: unused
                per_device_train_batch_size: 1
                logging_steps: 1
                save_strategy: 'no'
                device: cpu
                """);
        ConfigFile.Sources sources = ConfigFile.Sources.ofFile(yaml.toString())
                .with("model_name_or_path", model.toString())
                .with("output_dir", folder.resolve("output").toString())
                .with("tokenized_path", rows)
                .with("cutoff_len", Integer.toString(setting.tokens()))
                .with("num_ranks", Integer.toString(setting.ranks()))
                .with("sequence_parallel_size", Integer.toString(setting.ranks()))
                .with("max_steps", Integer.toString(STEPS));
        for (String key : Arrays.asList(setting.keys().split(" "))) {
            if (!key.isEmpty()) {
                sources = sources.with(key.substring(0, key.indexOf('=')), key.substring(key.indexOf('=') + 1));
            }
        }
        return ConfigFile.load(sources, new Configuration()).config();
    }
}
