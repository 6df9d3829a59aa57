package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.atomic.AtomicInteger;
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
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.training.TrainingRank.How;
import ulysses.runtime.weights.AdapterDirectory;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.TunedModel;
import ulysses.runtime.weights.WrittenFile;

/** A live model through a checkpoint and back, on as many ranks as wrote it and on others. */
final class ModelStateTest {

    private static final int STEPS = 3;
    private static final List<PackedRow> ROWS = SmallModels.rows(41, 4, 20);
    private static final String CONFIG = """
            {"model_type": "qwen2", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
             "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 96, "hidden_act": "silu",
             "rms_norm_eps": 1e-5, "max_position_embeddings": 128, "rope_theta": 10000.0, "initializer_range": 0.1}
            """;
    private static final ModelSpec SPEC = ModelSpec.parse(CONFIG, "test");

    @TempDir
    private Path directory;

    /** All state of a rank. */
    @SuppressWarnings("ArrayRecordComponent") // a carrier, compared element by element
    private record State(double[] weights, double[] masters, double[] first, double[] second, long steps) {
        static State of(TrainingRank rank) {
            return new State(
                    TensorArrays.values(rank.parameters().weights()),
                    TensorArrays.values(rank.parameters().master()),
                    TensorArrays.values(rank.optimizer().firstMoment()),
                    TensorArrays.values(rank.optimizer().secondMoment()),
                    rank.optimizer().steps());
        }
    }

    @ParameterizedTest(name = "{0}: {1} ranks into {2}")
    @CsvSource({
        "FLOAT32,2,2,full",
        "FLOAT32,2,1,full",
        "FLOAT32,2,4,full",
        "FLOAT32,1,3,full",
        "BFLOAT16,2,2,full",
        "BFLOAT16,2,1,full",
        "BFLOAT16,2,4,full",
        "FLOAT32,2,4,lora",
        "BFLOAT16,2,2,lora",
        "BFLOAT16,2,2,freeze"
    })
    void allStatesComeBackBitForBitOnAnyNumberOfRanks(ComputeType compute, int writing, int reading, String type) {
        TunedModel tuned = tuned(type);
        How how = How.PLAIN.with(compute);
        List<State[]> written = new CopyOnWriteArrayList<>();
        Checkpoint checkpoint = written(tuned, how, writing, written);
        expectFolder(checkpoint, tuned);

        RankMesh other = new RankMesh(reading, reading);
        List<State[]> read = RankThreads.run(other, groups -> {
            try (TrainingRank rank = TrainingRank.of(tuned, how, groups);
                    CheckpointReader reader = CheckpointReader.open(checkpoint)) {
                rank.parameters().master().zero_();
                AtomicInteger parts = new AtomicInteger();
                rank.state().restore(reader, checkpoint.state().step(), parts::incrementAndGet);
                assertThat(parts).hasPositiveValue();
                State then = State.of(rank);
                train(rank, other, groups, 1);
                return new State[] {then, State.of(rank)};
            }
        });

        for (State[] of : read) {
            assertSame(of[0], written.get(0)[0]);
            if (reading == writing) {
                assertSame(of[1], written.get(0)[1]);
            } else {
                assertThat(TensorArrays.relative(of[1].masters(), written.get(0)[1].masters()))
                        .isLessThan(compute == ComputeType.FLOAT32 ? 1e-6 : 1e-3);
            }
        }
    }

    /** A checkpoint of {@code ranks}; {@code states} gets those of each as written and a step later. */
    private Checkpoint written(TunedModel tuned, How how, int ranks, List<State[]> states) {
        RankMesh mesh = new RankMesh(ranks, ranks);
        Folder folder = Folder.at(directory.toString(), new Configuration());
        CheckpointWriter writer = new CheckpointWriter(new CheckpointStore(folder.folder("output")), 1, "run", mesh);
        List<List<WrittenFile>> files = new CopyOnWriteArrayList<>();
        states.addAll(RankThreads.run(mesh, groups -> {
            try (TrainingRank rank = TrainingRank.of(tuned, how, groups)) {
                train(rank, mesh, groups, STEPS);
                int worldRank = groups.world().rank();
                try (ModelState.Weights weights = rank.state().weights(worldRank, ranks)) {
                    files.add(writer.writeRank(
                            STEPS, worldRank, weights.tensors(), rank.state().optimizerStates(worldRank, ranks)));
                }
                State then = State.of(rank);
                train(rank, mesh, groups, 1);
                return new State[] {then, State.of(rank)};
            }
        }));
        folder.folder("model").write("config.json", CONFIG.getBytes(StandardCharsets.UTF_8));
        List<WrittenFile> all = files.stream().flatMap(List::stream).toList();
        TrainState state = new TrainState(STEPS, 0, 0, 0, 0, 0, 0, 7, "config", "data", 0);
        return tuned.adapter()
                .map(lora -> writer.commitAdapter(all, state, "{}", lora, new AdapterDirectory.Origin("m", List.of())))
                .orElseGet(() -> writer.commit(all, state, "{}", ModelDirectory.open(folder.folder("model")), SPEC));
    }

    /** What was trained and is not any more would come from the model that training began with, unnoticed. */
    @ParameterizedTest(name = "{0} goes on as {1}")
    @CsvSource({"full,freeze", "freeze,full", "full,lora"})
    void otherParametersAreNotTakenUp(String before, String after) {
        Checkpoint checkpoint = written(tuned(before), How.PLAIN, 1, new CopyOnWriteArrayList<>());

        RankThreads.run(new RankMesh(1, 1), groups -> {
            try (TrainingRank rank = TrainingRank.of(tuned(after), How.PLAIN, groups);
                    CheckpointReader reader = CheckpointReader.open(checkpoint)) {
                assertThatThrownBy(() -> rank.state().restore(reader, STEPS, () -> {}))
                        .isInstanceOf(StorageException.class)
                        .hasMessageContaining("resume with the finetuning_type, layers and modules it was trained with")
                        .hasMessageContaining("lm_head.weight");
                return rank;
            }
        });
    }

    private static TunedModel tuned(String type) {
        TuningConfig.Stage stage = TuningConfig.Stage.SFT;
        return switch (type) {
            case "lora" ->
                TunedModel.of(
                        new TuningConfig.Lora(
                                stage, 2, 4, 0.1, List.of("all"), List.of("norm"), false, 1, List.of(), false),
                        SPEC,
                        new Configuration());
            case "freeze" ->
                TunedModel.of(new TuningConfig.Freeze(stage, 1, List.of("all"), List.of()), SPEC, new Configuration());
            default -> TunedModel.full(SPEC);
        };
    }

    /** The checkpoint is a folder that PEFT or transformers loads. */
    private static void expectFolder(Checkpoint checkpoint, TunedModel tuned) {
        if (tuned.adapter().isPresent()) {
            AdapterDirectory adapter = AdapterDirectory.open(checkpoint.folder());
            adapter.weights(SPEC).close();
            assertThat(adapter.spec()).isEqualTo(tuned.adapter().get());
        } else {
            ModelDirectory.open(checkpoint.folder()).weights().close();
        }
    }

    private static void train(TrainingRank rank, RankMesh mesh, ProcessGroups groups, int steps) {
        for (int step = 0; step < steps; step++) {
            rank.step(TrainingRank.batches(ROWS, mesh, groups.world().rank(), 1), 1e-3);
        }
    }

    private static void assertSame(State actual, State expected) {
        assertThat(actual.steps()).isEqualTo(expected.steps());
        assertThat(actual.masters()).as("master weights").isEqualTo(expected.masters());
        assertThat(actual.weights()).as("weights").isEqualTo(expected.weights());
        assertThat(actual.first()).as("first moment").isEqualTo(expected.first());
        assertThat(actual.second()).as("second moment").isEqualTo(expected.second());
    }
}
