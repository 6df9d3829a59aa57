package ulysses.runtime.training;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.collective.RankProcesses;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.PackedRows;
import ulysses.runtime.mesh.RankEvent;

/**
 * By hand: peak memory of rank 0 of two real rank processes by ZeRO stage, with and without offload, for the table of README.md. Model: a
 * SmolLM2-135M shape with random weights and any vocabulary. Arguments: an empty folder, tokens of a row, vocabulary, dtype (fp32 or bf16).
 */
final class StageMemory {

    private static final int RANKS = 2;
    private static final int STEPS = 3;
    private static final Duration TIMEOUT = Duration.ofMinutes(8);

    private StageMemory() {}

    public static void main(String[] arguments) throws IOException {
        Path folder = Path.of(arguments[0]).toAbsolutePath();
        int vocabulary = Integer.parseInt(arguments[2]);
        Files.createDirectories(folder.resolve("model"));
        Files.writeString(folder.resolve("model/config.json"), """
                {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 576, "intermediate_size": 1536,
                 "num_hidden_layers": 30, "num_attention_heads": 9, "num_key_value_heads": 3, "vocab_size": %d,
                 "hidden_act": "silu", "rms_norm_eps": 1e-5, "max_position_embeddings": 8192, "rope_theta": 100000.0,
                 "initializer_range": 0.04, "tie_word_embeddings": true}
                """.formatted(vocabulary));
        writeRows(folder.resolve("rows"), Integer.parseInt(arguments[1]), vocabulary);
        for (String keys : List.of(
                "zero_stage=0",
                "zero_stage=1",
                "zero_stage=2",
                "zero_stage=3",
                "zero_stage=3 offload_optimizer=true")) {
            String bf16 = " bf16=" + arguments[3].equals("bf16");
            System.out.println("| " + keys + " | " + (peak(folder, keys + bf16) >> 20) + " MiB |");
        }
    }

    private static void writeRows(Path folder, int length, int vocabulary) throws IOException {
        Random random = new Random(0);
        List<PackedRow> rows = new ArrayList<>();
        for (int row = 0; row < STEPS; row++) {
            int[] ids = random.ints(length, 0, vocabulary).toArray();
            rows.add(new PackedRow(ids, ids.clone(), new int[] {length}));
        }
        PackedRows.write(folder.toString(), rows, "memory", new Configuration());
    }

    private static long peak(Path folder, String keys) throws IOException {
        Path yaml = Files.writeString(folder.resolve("train.yaml"), """
                stage: pt
                finetuning_type: full
                train_from_scratch: true
                dataset: unused
                per_device_train_batch_size: 1
                logging_steps: 1
                save_strategy: 'no'
                overwrite_output_dir: true
                """);
        ConfigFile.Sources sources = ConfigFile.Sources.ofFile(yaml.toString())
                .with("model_name_or_path", folder.resolve("model").toString())
                .with("output_dir", folder.resolve("output").toString())
                .with("sequence_parallel_size", Integer.toString(RANKS))
                .with("max_steps", Integer.toString(STEPS));
        for (String key : Arrays.asList(keys.split(" "))) {
            sources = sources.with(key.substring(0, key.indexOf('=')), key.substring(key.indexOf('=') + 1));
        }
        TrainingConfig config = ConfigFile.load(sources, new Configuration()).config();
        AssignmentLine line = new AssignmentLine(
                config,
                RANKS,
                folder.resolve("rows").toString(),
                List.of(),
                folder.resolve("scratch").toString());
        try (RankProcesses ranks = RankProcesses.start(RankMain.class, RANKS, TIMEOUT, line::of)) {
            RankProcesses.Outcome outcome = ranks.await(TIMEOUT).get(0);
            if (outcome.exitCode() != 0) {
                throw new IllegalStateException(outcome.log());
            }
            return outcome.events().stream()
                    .filter(RankEvent.Step.class::isInstance)
                    .mapToLong(event -> ((RankEvent.Step) event).peakBytes())
                    .max()
                    .orElseThrow();
        }
    }
}
