package ulysses.runtime.export;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointReader;
import ulysses.runtime.weights.DataType;
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
    private HuggingFaceExport() {}

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
