package ulysses.runtime.checkpoint;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.TensorData;
import ulysses.runtime.weights.WrittenFile;

/** A tiny model and ranks that save it: element i of parameter p at step s is {@code s * 1000 + p * 100 + i % 100}. */
public final class CheckpointRun {
    static final String RUN = "run-1";
    static final String CONFIG = """
            {"model_type": "llama", "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,
             "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 8, "torch_dtype": "bfloat16",
             "custom_field": [1, {"kept": true}]}""";

    private CheckpointRun() {}

    public static ModelDirectory model(Folder folder) {
        folder.write("config.json", CONFIG.getBytes(StandardCharsets.UTF_8));
        folder.write("tokenizer.json", "{}".getBytes(StandardCharsets.UTF_8));
        return ModelDirectory.open(folder);
    }

    static float value(long step, int parameter, long element) {
        return step * 1000f + parameter * 100f + element % 100;
    }

    static TensorData tensor(String name, long[] shape, long step, int parameter, long first, long count) {
        ByteBuffer bytes = ByteBuffer.allocate((int) count * 4).order(ByteOrder.LITTLE_ENDIAN);
        for (long i = first; i < first + count; i++) {
            bytes.putFloat(value(step, parameter, i));
        }
        return TensorData.of(name, DataType.F32, shape, bytes.flip());
    }

    /** Rank r writes every parameter p with p % ranks = r, and the r-th slice of every state. */
    static List<WrittenFile> writeRank(CheckpointWriter writer, ModelDirectory model, long step, int rank, int ranks) {
        List<TensorData> weights = new ArrayList<>();
        List<TensorData> states = new ArrayList<>();
        List<ParameterSpec> parameters = model.spec().parameters();
        for (int p = 0; p < parameters.size(); p++) {
            ParameterSpec parameter = parameters.get(p);
            long elements = parameter.elements();
            if (p % ranks == rank) {
                weights.add(tensor(parameter.name(), parameter.shape(), step, p, 0, elements));
                states.add(tensor(
                        StateTensor.whole(StateTensor.EXP_AVG_SQ, parameter.name())
                                .name(),
                        parameter.shape(),
                        step,
                        p,
                        0,
                        elements));
            }
            long first = elements * rank / ranks;
            long count = elements * (rank + 1) / ranks - first;
            if (count > 0) {
                states.add(tensor(
                        StateTensor.slice(StateTensor.EXP_AVG, parameter.name(), first)
                                .name(),
                        new long[] {count},
                        step,
                        p,
                        first,
                        count));
            }
        }
        return writer.writeRank(step, rank, weights, states);
    }

    static TrainState state(long step) {
        return new TrainState(
                step, step / 16.0, step * 8, step * 800, step * 80, step * 1.5, step * 0.1, 42, "config", "data", 1);
    }

    static Checkpoint save(Folder root, ModelDirectory model, int attempt, long step, int ranks) {
        return save(root, model, RUN, attempt, step, ranks);
    }

    /** With weights and without states, as {@code save_only_model} has it. */
    public static Checkpoint saveModel(Folder root, ModelDirectory model, String run, long step) {
        CheckpointWriter writer = new CheckpointWriter(new CheckpointStore(root), 1, run, new RankMesh(1, 1));
        List<TensorData> weights = new ArrayList<>();
        for (ParameterSpec parameter : model.spec().parameters()) {
            weights.add(tensor(parameter.name(), parameter.shape(), step, 0, 0, parameter.elements()));
        }
        List<WrittenFile> files = writer.writeRank(step, 0, weights, List.of());
        return writer.commit(files, state(step), "{}", model, model.spec());
    }

    public static Checkpoint save(Folder root, ModelDirectory model, String run, int attempt, long step, int ranks) {
        CheckpointWriter writer =
                new CheckpointWriter(new CheckpointStore(root), attempt, run, new RankMesh(ranks, ranks));
        List<WrittenFile> files = new ArrayList<>();
        for (int rank = ranks - 1; rank >= 0; rank--) {
            files.addAll(writeRank(writer, model, step, rank, ranks));
        }
        return writer.commit(files, state(step), "{\"global_step\": %d}".formatted(step), model, model.spec());
    }
}
