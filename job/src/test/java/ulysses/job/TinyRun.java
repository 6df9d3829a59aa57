package ulysses.job;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointStore;
import ulysses.runtime.checkpoint.CheckpointWriter;
import ulysses.runtime.checkpoint.StateTensor;
import ulysses.runtime.checkpoint.TrainState;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.TensorData;
import ulysses.runtime.weights.WrittenFile;

/** A folder with a tiny model, the YAML of a run on it and the checkpoints of two ranks: made in plain Java, nothing was trained. */
final class TinyRun {
    private static final String CONFIG = """
            {"model_type": "llama", "hidden_size": 4, "intermediate_size": 6, "num_hidden_layers": 1,
             "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 8, "torch_dtype": "float32"}""";

    private final Path folder;
    private final ModelDirectory model;
    private final Folder output;

    TinyRun(Path folder) throws IOException {
        this.folder = folder;
        Folder source = at(folder.resolve("model").toString());
        source.write("config.json", CONFIG.getBytes(StandardCharsets.UTF_8));
        source.write("tokenizer.json", "{}".getBytes(StandardCharsets.UTF_8));
        this.model = ModelDirectory.open(source);
        this.output = at(folder.resolve("output").toString());
        Files.writeString(yaml(), """
                model_name_or_path: %s
                finetuning_type: full
                dataset: d
                output_dir: %s
                """.formatted(source.path(), output.path()));
    }

    /** What a command printed. */
    record Result(int code, String out, String err) {}

    /** Runs the command line {@code arguments}. */
    static Result run(String... arguments) {
        ByteArrayOutputStream out = new ByteArrayOutputStream();
        ByteArrayOutputStream err = new ByteArrayOutputStream();
        int code = Main.run(
                arguments,
                JobRun.NOWHERE,
                new PrintStream(out, true, StandardCharsets.UTF_8),
                new PrintStream(err, true, StandardCharsets.UTF_8));
        return new Result(code, out.toString(StandardCharsets.UTF_8), err.toString(StandardCharsets.UTF_8));
    }

    static Folder at(String path) {
        return Folder.at(path, new Configuration(false));
    }

    Path yaml() {
        return folder.resolve("train.yaml");
    }

    Path output() {
        return folder.resolve("output");
    }

    ModelDirectory model() {
        return model;
    }

    /** Element i of the weight {@code parameter} at {@code step}. */
    static float weight(long step, int parameter, long i) {
        return step * 100f + parameter + i / 1000f;
    }

    Path checkpoint(long step) {
        return output().resolve("checkpoint-" + step);
    }

    /** Saves the checkpoint of {@code step}: rank r writes the parameters p with p % 2 = r. */
    Checkpoint save(long step) {
        CheckpointWriter writer = new CheckpointWriter(new CheckpointStore(output), 1, "run", new RankMesh(2, 2));
        List<WrittenFile> files = new ArrayList<>();
        List<ParameterSpec> parameters = model.spec().parameters();
        for (int rank = 0; rank < 2; rank++) {
            List<TensorData> weights = new ArrayList<>();
            List<TensorData> moments = new ArrayList<>();
            for (int p = rank; p < parameters.size(); p += 2) {
                String name = parameters.get(p).name();
                weights.add(tensor(name, step, p));
                moments.add(tensor(StateTensor.whole(StateTensor.EXP_AVG, name).name(), step, p));
            }
            files.addAll(writer.writeRank(step, rank, weights, moments));
        }
        TrainState state =
                new TrainState(step, step / 10.0, 4 * step, 400 * step, 40 * step, 3.0 * step, 7, 42, "c", "d", 0);
        String trainerState = """
                {"max_steps": 30, "log_history": [{"step": 1, "loss": 9.0}, {"step": %d, "loss": 2.5},
                 {"step": %d, "eval_loss": 3.5}]}""".formatted(step, step);
        return writer.commit(files, state, trainerState, model, model.spec());
    }

    private TensorData tensor(String name, long step, int p) {
        ParameterSpec parameter = model.spec().parameters().get(p);
        ByteBuffer bytes =
                ByteBuffer.allocate((int) parameter.elements() * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        for (long i = 0; i < parameter.elements(); i++) {
            bytes.putFloat(weight(step, p, i));
        }
        return TensorData.of(name, DataType.F32, parameter.shape(), bytes.flip());
    }
}
