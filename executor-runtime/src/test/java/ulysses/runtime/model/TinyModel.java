package ulysses.runtime.model;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.hadoop.conf.Configuration;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.SequenceLayout;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.memory.NativeRuntime;
import ulysses.runtime.memory.StateHome;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.objective.NextToken;
import ulysses.runtime.training.SequenceStep;
import ulysses.runtime.weights.AdapterDirectory;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterPlan;
import ulysses.runtime.weights.SafetensorsFile;
import ulysses.runtime.weights.TunedModel;
import ulysses.runtime.weights.WeightFile;

/** A reference model with its recorded cases, and one micro-batch run through it: what parity tests share. */
public final class TinyModel implements AutoCloseable {
    static {
        // Two threads of libtorch wait for each other by spinning: on a busy machine tiny models then take 50 times as
        // long.
        NativeRuntime.start(1);
    }

    private static final String REFERENCE = "src/test/resources/reference/";
    private static final Map<String, JsonNode> CASES = new ConcurrentHashMap<>();
    private static final Map<String, float[]> FLOATS = new ConcurrentHashMap<>();
    private static final Map<String, int[]> INTS = new ConcurrentHashMap<>();

    private final String name;
    private final ModelSpec spec;
    private final Parameters parameters;
    private final ParameterSharing sharing;
    private final CausalLm model;
    private final SequenceStep step;

    /** Loads {@code name}; its sequences are split over {@code group}. */
    public TinyModel(String name, Collectives group, boolean checkpointing) {
        this(name, TunedModel.full(specOf(name)), group, checkpointing, new SingleRank("parameters"), 0);
    }

    /** The same with the recorded adapter of {@code caseName}, which alone is trained. */
    public static TinyModel withAdapter(String name, String caseName, Collectives group, boolean checkpointing) {
        return withAdapter(name, caseName, group, checkpointing, new SingleRank("parameters"), 0);
    }

    /** The same cut over all ranks of {@code world} as ZeRO's {@code stage} says. */
    public static TinyModel withAdapter(
            String name, String caseName, Collectives group, boolean checkpointing, Collectives world, int stage) {
        AdapterDirectory adapter = AdapterDirectory.open(folder("cases/" + name + "/" + caseName + "/adapter"));
        ModelSpec spec = specOf(name);
        TunedModel tuned = new TunedModel(
                spec,
                ParameterPlan.adapter(spec, adapter.spec()),
                Optional.of(adapter.spec()),
                Optional.of(adapter),
                List.of());
        return new TinyModel(name, tuned, group, checkpointing, world, stage);
    }

    /** The same with the adapter in {@code path} merged into it, which is then frozen. */
    public static TinyModel merged(String name, String path) {
        AdapterDirectory adapter = AdapterDirectory.open(folder("cases/" + name + "/" + path));
        SingleRank alone = new SingleRank("merged");
        return new TinyModel(name, TunedModel.merged(specOf(name), List.of(adapter)), alone, true, alone, 0);
    }

    private static ModelSpec specOf(String name) {
        return ModelDirectory.open(folder("models/" + name)).spec();
    }

    private TinyModel(
            String name, TunedModel tuned, Collectives group, boolean checkpointing, Collectives world, int stage) {
        this.name = name;
        ModelDirectory directory = ModelDirectory.open(folder("models/" + name));
        this.spec = tuned.spec();
        Device cpu = new Device("cpu");
        Sharding sharding = Sharding.of(stage, world.rank(), world.size());
        this.parameters = new Parameters(tuned.plan(), ComputeType.FLOAT32, cpu, sharding, StateHome.on(cpu));
        this.sharing = new ParameterSharing(parameters, world);
        InitialWeights weights = new InitialWeights(spec, parameters);
        tuned.read(directory.weights(), directory.spec(), DataType.F32, weights::load);
        tuned.start().ifPresent(adapter -> {
            try (WeightFile file = adapter.weights(spec)) {
                weights.loadAdapter(adapter.spec(), file);
            }
        });
        this.model = new CausalLm(
                spec,
                sharing,
                tuned.adapter().map(lora -> new CausalLm.Adapter(lora, 0)),
                new CausalLm.Layers(
                        ParallelConfig.Device.CPU, checkpointing ? ActivationMemory.ATTENTION : ActivationMemory.FULL),
                group);
        this.step = new SequenceStep(model, new NextToken(model.head()), group);
    }

    public ModelSpec spec() {
        return spec;
    }

    public Parameters parameters() {
        return parameters;
    }

    public ParameterSharing sharing() {
        return sharing;
    }

    public CausalLm model() {
        return model;
    }

    /** The numbers of {@code case.json}. */
    public JsonNode json(String caseName) {
        File file = new File(REFERENCE + "cases/" + name + "/" + caseName + "/case.json");
        return CASES.computeIfAbsent(file.getPath(), path -> {
            try {
                return new ObjectMapper().readTree(file);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        });
    }

    /** A recorded tensor as float32, flat; shared, so it must not be changed. */
    public float[] floats(String caseName, String file, String tensor) {
        return FLOATS.computeIfAbsent(String.join("/", name, caseName, file, tensor), key -> {
            try (SafetensorsFile safetensors = SafetensorsFile.open(folder("cases/" + name + "/" + caseName), file)) {
                float[] values =
                        new float[Math.toIntExact(safetensors.info(tensor).elements())];
                ByteBuffer bytes = buffer(values.length);
                safetensors.readFloat32(tensor, 0, bytes);
                bytes.flip().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
                return values;
            }
        });
    }

    /** Names of the tensors of a recorded file. */
    public List<String> names(String caseName, String file) {
        try (SafetensorsFile safetensors = SafetensorsFile.open(folder("cases/" + name + "/" + caseName), file)) {
            return safetensors.names();
        }
    }

    /** A recorded integer tensor, flat; shared, so it must not be changed. */
    public int[] ints(String caseName, String file, String tensor) {
        return INTS.computeIfAbsent(String.join("/", name, caseName, file, tensor), key -> {
            try (SafetensorsFile safetensors = SafetensorsFile.open(folder("cases/" + name + "/" + caseName), file)) {
                int[] values = new int[Math.toIntExact(safetensors.info(tensor).elements())];
                ByteBuffer bytes = buffer(values.length);
                safetensors.read(tensor, 0, bytes);
                bytes.flip().order(ByteOrder.LITTLE_ENDIAN).asIntBuffer().get(values);
                return values;
            }
        });
    }

    private static ByteBuffer buffer(int elements) {
        return ByteBuffer.allocate(4 * elements).order(ByteOrder.LITTLE_ENDIAN);
    }

    /** Rows of {@code length} tokens from flat ids, labels and document numbers (1, 2, ...; 0 is padding). */
    public static List<PackedRow> rows(int[] ids, int[] labels, int[] documents, int length) {
        List<PackedRow> rows = new ArrayList<>();
        for (int start = 0; start < ids.length; start += length) {
            List<Integer> lengths = new ArrayList<>();
            int previous = 0;
            for (int t = start; t < start + length; t++) {
                if (documents[t] == 0) {
                    continue;
                }
                if (documents[t] != previous) {
                    lengths.add(0);
                    previous = documents[t];
                }
                lengths.set(lengths.size() - 1, lengths.get(lengths.size() - 1) + 1);
            }
            rows.add(new PackedRow(
                    Arrays.copyOfRange(ids, start, start + length),
                    Arrays.copyOfRange(labels, start, start + length),
                    lengths.stream().mapToInt(Integer::intValue).toArray()));
        }
        return rows;
    }

    /** Forward and backward of one micro-batch; gradients accumulate. Gives the sum of the loss over this rank's part. */
    public double accumulate(MicroBatch batch, long trainedTokens) {
        return step.forwardBackward(batch, trainedTokens).loss();
    }

    /** Runs micro-batches through this rank's model. */
    public SequenceStep step() {
        return step;
    }

    /** Hidden states after the final norm and logits, as flat arrays [s,D] and [s,V]. */
    public float[][] hiddenAndLogits(int[] ids, int[] positions, int[] documentEnds) {
        return hiddenAndLogits(model, ids, positions, documentEnds);
    }

    /** The same of another view of the model. */
    public static float[][] hiddenAndLogits(CausalLm model, int[] ids, int[] positions, int[] documentEnds) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor x = model.embed(ids);
            Tensor hidden =
                    model.on(new SequenceLayout(documentEnds), positions).infer(x);
            Tensor logits = torch.linear(hidden, model.head().value().detach());
            return new float[][] {floats(hidden), floats(logits)};
        }
    }

    /** All elements of a float32 tensor. */
    public static float[] floats(Tensor tensor) {
        try (TensorScope scope = TensorScope.open()) {
            float[] values = new float[Math.toIntExact(tensor.numel())];
            Tensor contiguous = tensor.detach().contiguous();
            new FloatPointer(contiguous.data_ptr()).get(values);
            return values;
        }
    }

    private static Folder folder(String path) {
        return Folder.at(new File(REFERENCE + path).getAbsolutePath(), new Configuration());
    }

    @Override
    public void close() {
        sharing.close();
        parameters.close();
    }
}
