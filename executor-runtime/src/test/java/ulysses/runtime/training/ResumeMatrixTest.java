package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.channels.Channels;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointReader;
import ulysses.runtime.checkpoint.CheckpointStore;
import ulysses.runtime.checkpoint.CheckpointWriter;
import ulysses.runtime.checkpoint.TrainState;
import ulysses.runtime.collective.ProcessGroups;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.config.TuningConfig;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.training.TrainingRank.How;
import ulysses.runtime.weights.AdapterDirectory;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.TensorData;
import ulysses.runtime.weights.TunedModel;
import ulysses.runtime.weights.WrittenFile;

/**
 * A checkpoint of any (P, DP, ZeRO stage) goes on with any other as if nothing had happened, and holds, byte for byte, the weights
 * that an export of its run would.
 */
final class ResumeMatrixTest {

    private static final int BEFORE = 2;
    private static final int AFTER = 2;
    private static final List<PackedRow> ROWS = SmallModels.rows(71, 4, 20);
    private static final String CONFIG = """
            {"model_type": "llama", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 96, "hidden_act": "silu",
             "rms_norm_eps": 1e-5, "max_position_embeddings": 128, "rope_theta": 10000.0, "initializer_range": 0.1,
             "tie_word_embeddings": false}
            """;
    private static final ModelSpec SPEC = ModelSpec.parse(CONFIG, "test");

    @TempDir
    private Path directory;

    private record Layout(int p, int dp, int stage) {
        RankMesh mesh() {
            return new RankMesh(p * dp, p);
        }
    }

    private static final List<Layout> LAYOUTS =
            List.of(new Layout(1, 1, 0), new Layout(2, 1, 1), new Layout(1, 2, 2), new Layout(2, 2, 3));

    @ParameterizedTest(name = "from P {0}, DP {1}, stage {2}")
    @CsvSource({"1,1,0", "2,1,1", "1,2,2", "2,2,3"})
    void anyLayoutAndStageGoesOnWithAnyOther(int p, int dp, int stage) {
        TunedModel full = TunedModel.full(SPEC);
        How how = How.PLAIN.withLimit(0.05);
        List<Double> uninterrupted = RankThreads.run(
                        1, groups -> losses(full, how, new RankMesh(1, 1), groups, BEFORE + AFTER))
                .get(0);
        Checkpoint checkpoint = write(full, how, new Layout(p, dp, stage));

        for (Layout layout : LAYOUTS) {
            RankThreads.forEachRank(layout.mesh(), groups -> {
                try (TrainingRank rank = TrainingRank.of(full, how.withStage(layout.stage()), groups);
                        CheckpointReader reader = CheckpointReader.open(checkpoint)) {
                    rank.state().restore(reader, BEFORE, () -> {});
                    List<Double> losses = train(rank, layout.mesh(), groups, AFTER);
                    for (int step = 0; step < AFTER; step++) {
                        assertThat(losses.get(step) / uninterrupted.get(BEFORE + step))
                                .as("loss of step %d as %s", BEFORE + step, layout)
                                .isCloseTo(1, within(1e-6));
                    }
                }
            });
        }
    }

    @ParameterizedTest(name = "{0}, {1}, stage {2}")
    @CsvSource({"FLOAT32,full,3", "BFLOAT16,full,3", "BFLOAT16,freeze,3", "BFLOAT16,lora,1", "BFLOAT16,lora,3"})
    void holdsTheWeightsThatAnExportGives(ComputeType compute, String type, int stage) {
        TunedModel tuned = tuned(type);
        Layout layout = new Layout(1, 2, stage);
        How how = How.PLAIN.with(compute);
        Checkpoint checkpoint = write(tuned, how, layout);

        RankThreads.forEachRank(layout.mesh(), groups -> {
            try (TrainingRank rank = TrainingRank.of(tuned, how.withStage(stage), groups)) {
                train(rank, layout.mesh(), groups, BEFORE);
                try (ModelState.Weights weights = rank.state().exported();
                        CheckpointReader reader = CheckpointReader.open(checkpoint)) {
                    Map<String, byte[]> exported = bytes(weights.tensors());
                    assertThat(exported).hasSize(groups.world().rank() == 0 ? stored(tuned) : 0);
                    for (Map.Entry<String, byte[]> weight : exported.entrySet()) {
                        assertThat(bytes(List.of(reader.weight(weight.getKey())))
                                        .get(weight.getKey()))
                                .as(weight.getKey())
                                .isEqualTo(weight.getValue());
                    }
                }
            }
        });
    }

    private static int stored(TunedModel tuned) {
        return tuned.adapter().isPresent()
                ? tuned.plan().trained().size()
                : SPEC.parameters().size();
    }

    private static Map<String, byte[]> bytes(List<TensorData> tensors) throws IOException {
        Map<String, byte[]> bytes = new LinkedHashMap<>();
        for (TensorData tensor : tensors) {
            ByteArrayOutputStream content = new ByteArrayOutputStream();
            tensor.bytes().writeTo(Channels.newChannel(content));
            bytes.put(tensor.name(), content.toByteArray());
        }
        return bytes;
    }

    private static TunedModel tuned(String type) {
        TuningConfig.Stage stage = TuningConfig.Stage.SFT;
        return switch (type) {
            case "lora" ->
                TunedModel.of(
                        new TuningConfig.Lora(
                                stage, 3, 4, 0.1, List.of("all"), List.of("lm_head"), false, 1, List.of(), false),
                        SPEC,
                        new Configuration());
            case "freeze" ->
                TunedModel.of(new TuningConfig.Freeze(stage, 1, List.of("all"), List.of()), SPEC, new Configuration());
            default -> TunedModel.full(SPEC);
        };
    }

    private Checkpoint write(TunedModel tuned, How how, Layout layout) {
        Folder folder = Folder.at(directory.toString(), new Configuration());
        CheckpointWriter writer =
                new CheckpointWriter(new CheckpointStore(folder.folder("output")), 1, "run", layout.mesh());
        int ranks = layout.mesh().worldSize();
        List<List<WrittenFile>> files = RankThreads.run(layout.mesh(), groups -> {
            int worldRank = groups.world().rank();
            try (TrainingRank rank = TrainingRank.of(tuned, how.withStage(layout.stage()), groups)) {
                train(rank, layout.mesh(), groups, BEFORE);
                try (ModelState.Weights weights = rank.state().weights(worldRank, ranks)) {
                    return writer.writeRank(
                            BEFORE, worldRank, weights.tensors(), rank.state().optimizerStates(worldRank, ranks));
                }
            }
        });
        folder.folder("model").write("config.json", CONFIG.getBytes(StandardCharsets.UTF_8));
        List<WrittenFile> all = files.stream().flatMap(List::stream).toList();
        TrainState state = new TrainState(BEFORE, 0, 0, 0, 0, 0, 0, 7, "config", "data", 0);
        return tuned.adapter()
                .map(lora -> writer.commitAdapter(all, state, "{}", lora, new AdapterDirectory.Origin("m", List.of())))
                .orElseGet(() -> writer.commit(all, state, "{}", ModelDirectory.open(folder.folder("model")), SPEC));
    }

    private static List<Double> losses(TunedModel tuned, How how, RankMesh mesh, ProcessGroups groups, int steps) {
        try (TrainingRank rank = TrainingRank.of(tuned, how, groups)) {
            return train(rank, mesh, groups, steps);
        }
    }

    private static List<Double> train(TrainingRank rank, RankMesh mesh, ProcessGroups groups, int steps) {
        List<Double> losses = new ArrayList<>();
        for (int step = 0; step < steps; step++) {
            losses.add(rank.step(TrainingRank.batches(ROWS, mesh, groups.world().rank(), 1), 1e-3)
                    .loss());
        }
        return losses;
    }
}
