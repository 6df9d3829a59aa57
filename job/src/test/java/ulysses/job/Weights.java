package ulysses.job;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.SafetensorsFile;

/** Tensors of a safetensors file as float32, and how far two of them lie apart. */
record Weights(Map<String, float[]> tensors) {

    /** Reads {@code model.safetensors} of a model folder. */
    static Weights of(Path folder) {
        return read(folder, "model.safetensors");
    }

    /** Reads a checkpoint, whose weights lie in several files. */
    static Weights ofCheckpoint(Path folder) {
        Map<String, float[]> tensors = new TreeMap<>();
        for (JsonNode file :
                new Results(folder).json("model.safetensors.index.json").path("weight_map")) {
            tensors.putAll(read(folder, file.textValue()).tensors());
        }
        return new Weights(tensors);
    }

    static Weights read(Path folder, String file) {
        Map<String, float[]> tensors = new TreeMap<>();
        try (SafetensorsFile open = SafetensorsFile.open(Folder.at(folder.toString(), new Configuration()), file)) {
            for (String name : open.names()) {
                tensors.put(name, floats(open, name));
            }
        }
        return new Weights(tensors);
    }

    private static float[] floats(SafetensorsFile file, String name) {
        int elements = Math.toIntExact(file.info(name).elements());
        ByteBuffer bytes =
                ByteBuffer.allocate(Math.multiplyExact(elements, Float.BYTES)).order(ByteOrder.LITTLE_ENDIAN);
        file.readFloat32(name, 0, bytes);
        float[] values = new float[elements];
        bytes.flip().order(ByteOrder.LITTLE_ENDIAN).asFloatBuffer().get(values);
        return values;
    }

    /** Every so many weights of each tensor, counted flat. */
    Weights every(int stride) {
        Map<String, float[]> sample = new TreeMap<>();
        tensors.forEach((name, all) -> {
            float[] some = new float[(all.length + stride - 1) / stride];
            for (int i = 0; i < some.length; i++) {
                some[i] = all[i * stride];
            }
            sample.put(name, some);
        });
        return new Weights(sample);
    }

    /** ||this - other|| over all tensors; both have the same ones. */
    double distance(Weights other) {
        if (!tensors.keySet().equals(other.tensors.keySet())) {
            throw new AssertionError("tensors %s and %s".formatted(tensors.keySet(), other.tensors.keySet()));
        }
        double squares = 0;
        for (Map.Entry<String, float[]> tensor : tensors.entrySet()) {
            float[] theirs = other.tensors.getOrDefault(tensor.getKey(), new float[0]);
            if (theirs.length != tensor.getValue().length) {
                throw new AssertionError(
                        "%s has %d and %d weights".formatted(tensor.getKey(), tensor.getValue().length, theirs.length));
            }
            for (int i = 0; i < theirs.length; i++) {
                double difference = (double) tensor.getValue()[i] - theirs[i];
                squares += difference * difference;
            }
        }
        return Math.sqrt(squares);
    }

    /** How far these weights end from {@code reference}, as a part of the way that it went from {@code start}. */
    double deviation(Weights reference, Weights start) {
        return distance(reference) / reference.distance(start);
    }
}
