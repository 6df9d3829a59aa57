package ulysses.runtime.export;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.WritableByteChannel;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointReader;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.FloatFormat;
import ulysses.runtime.weights.FloatWeights;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.SafetensorsFile;
import ulysses.runtime.weights.TensorData;
import ulysses.runtime.weights.WeightIndex;
import ulysses.runtime.weights.WeightsException;

/**
 * Writes a model folder that transformers loads: weights in one file or in shards with an index, config.json, tokenizer files. Weights
 * go first and config.json last, so a folder that was not finished is not taken for a model.
 */
public final class HuggingFaceExport {
    /** Elements that are in memory at once; chosen, not tuned. */
    private static final int BLOCK_ELEMENTS = 1 << 20;

    private HuggingFaceExport() {}

    /**
     * Writes {@code weights}, rounded to {@code type}, into {@code target}; see {@link #write(ModelDirectory, ModelSpec, List,
     * Folder, long)}. Merged adapters are computed on the way, piece by piece.
     */
    public static void write(
            ModelDirectory source,
            ModelSpec spec,
            FloatWeights weights,
            DataType type,
            Folder target,
            long shardBytes) {
        List<TensorData> tensors = spec.parameters().stream()
                .map(parameter -> new TensorData(
                        parameter.name(), type, parameter.shape(), out -> stream(parameter, weights, type, out)))
                .toList();
        write(source, spec, tensors, target, shardBytes);
    }

    private static void stream(ParameterSpec parameter, FloatWeights weights, DataType type, WritableByteChannel out)
            throws IOException {
        int block = (int) Math.min(BLOCK_ELEMENTS, parameter.elements());
        ByteBuffer values = ByteBuffer.allocate(block * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        ByteBuffer stored = ByteBuffer.allocate(block * type.bytes());
        for (long first = 0; first < parameter.elements(); first += block) {
            int count = (int) Math.min(block, parameter.elements() - first);
            values.clear().limit(count * Float.BYTES);
            weights.readFloat32(parameter.name(), first, values);
            FloatFormat.narrow(type, values.flip(), stored.clear());
            stored.flip();
            while (stored.hasRemaining()) {
                out.write(stored);
            }
        }
    }

    /** Writes the model of a complete checkpoint into {@code target}; see {@link #write}. */
    public static void fromCheckpoint(Checkpoint checkpoint, Folder target, long maxShardBytes) {
        ModelDirectory source = ModelDirectory.open(checkpoint.folder());
        try (CheckpointReader reader = CheckpointReader.open(checkpoint)) {
            List<TensorData> tensors = source.spec().parameters().stream()
                    .map(parameter -> reader.weight(parameter.name()))
                    .toList();
            write(source, source.spec(), tensors, target, maxShardBytes);
        }
    }

    /**
     * Writes a model into {@code target}, which may hold an earlier export; that one's weights are replaced.
     *
     * @param source the model that training started from: its config.json, where training changed nothing, and its tokenizer
     * @param spec the model as it was trained
     * @param tensors every parameter of {@code spec}, all of one type, in any order
     * @param maxShardBytes weights are split into files of at most so many bytes of tensors; a larger tensor gets its own
     */
    public static void write(
            ModelDirectory source, ModelSpec spec, List<TensorData> tensors, Folder target, long maxShardBytes) {
        if (target.path().equals(source.folder().path())) {
            throw new WeightsException(
                    "output_dir %s is the folder of the model that training starts from; choose another one"
                            .formatted(target.path()));
        }
        List<TensorData> ordered = inOrder(spec, tensors);
        target.delete(ModelDirectory.CONFIG);
        target.list().stream()
                .map(Folder.Entry::name)
                .filter(HuggingFaceExport::isWeights)
                .forEach(target::delete);
        writeWeights(ordered, target, maxShardBytes);
        source.copyCompanionsTo(target);
        DataType type = ordered.get(0).type();
        target.write(ModelDirectory.CONFIG, source.configFor(spec, type).getBytes(StandardCharsets.UTF_8));
    }

    private static boolean isWeights(String name) {
        return name.matches("model(-\\d+-of-\\d+)?\\.safetensors") || name.equals(WeightIndex.INDEX_FILE);
    }

    private static List<TensorData> inOrder(ModelSpec spec, List<TensorData> tensors) {
        Map<String, TensorData> byName = new HashMap<>();
        tensors.forEach(tensor -> byName.put(tensor.name(), tensor));
        List<TensorData> ordered = new ArrayList<>();
        for (ParameterSpec parameter : spec.parameters()) {
            TensorData tensor = byName.remove(parameter.name());
            if (tensor == null
                    || !parameter.equals(new ParameterSpec(tensor.name(), tensor.shape(), parameter.decayed()))) {
                throw new IllegalArgumentException("no tensor of the shape of " + parameter);
            }
            ordered.add(tensor);
        }
        if (!byName.isEmpty()) {
            throw new IllegalArgumentException("the model has no parameters " + byName.keySet());
        }
        return ordered;
    }

    private static void writeWeights(List<TensorData> tensors, Folder target, long maxShardBytes) {
        List<List<TensorData>> shards = shards(tensors, maxShardBytes);
        if (shards.size() == 1) {
            SafetensorsFile.write(target, WeightIndex.SINGLE_FILE, tensors);
            return;
        }
        Map<String, String> weightMap = new TreeMap<>();
        for (int i = 0; i < shards.size(); i++) {
            String name = "model-%05d-of-%05d.safetensors".formatted(i + 1, shards.size());
            SafetensorsFile.write(target, name, shards.get(i));
            shards.get(i).forEach(tensor -> weightMap.put(tensor.name(), name));
        }
        long bytes = tensors.stream().mapToLong(TensorData::byteLength).sum();
        target.write(
                WeightIndex.INDEX_FILE, WeightIndex.toJson(weightMap, bytes).getBytes(StandardCharsets.UTF_8));
    }

    private static List<List<TensorData>> shards(List<TensorData> tensors, long maxShardBytes) {
        List<List<TensorData>> shards = new ArrayList<>();
        List<TensorData> shard = new ArrayList<>();
        long bytes = 0;
        for (TensorData tensor : tensors) {
            if (!shard.isEmpty() && bytes + tensor.byteLength() > maxShardBytes) {
                shards.add(shard);
                shard = new ArrayList<>();
                bytes = 0;
            }
            shard.add(tensor);
            bytes += tensor.byteLength();
        }
        shards.add(shard);
        return shards;
    }
}
