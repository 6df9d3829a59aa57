package ulysses.runtime.training;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32C;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.FloatWeights;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.TunedModel;
import ulysses.runtime.weights.WeightIndex;

/** Changes with anything that changes what a reference says of a document: eight hexadecimal digits. */
final class ReferenceFingerprint {
    /** Weights of each tensor that a reference is told by; other weights differ in all of them. */
    private static final int SAMPLE = 256;

    private final CRC32C checksum = new CRC32C();

    private ReferenceFingerprint(TrainingConfig config, String seed, ModelSpec stored) {
        String settings = "%s %s %s %s %s %s"
                .formatted(
                        config.model().computeType(),
                        config.model().ropeScaling(),
                        config.model().attention(),
                        config.data().cutoffLength(),
                        seed,
                        stored);
        checksum.update(settings.getBytes(StandardCharsets.UTF_8));
    }

    /** Of weights drawn with the seed of {@code config} for the shape {@code stored}. */
    static String ofDrawn(TrainingConfig config, ModelSpec stored) {
        return new ReferenceFingerprint(config, String.valueOf(config.step().seed()), stored).text();
    }

    /** Of the weights in {@code source} with the adapters that {@code model} merges into them. */
    static String of(TrainingConfig config, ModelDirectory source, TunedModel model) {
        ReferenceFingerprint fingerprint = new ReferenceFingerprint(config, "", source.spec());
        try (WeightIndex files = source.weights()) {
            model.read(files, source.spec(), DataType.F32, weights -> fingerprint.add(weights, model.spec()));
        }
        return fingerprint.text();
    }

    private void add(FloatWeights weights, ModelSpec spec) {
        for (ParameterSpec parameter : spec.parameters()) {
            int elements = (int) Math.min(SAMPLE, parameter.elements());
            ByteBuffer sample = ByteBuffer.allocate(elements * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
            weights.readFloat32(parameter.name(), 0, sample);
            checksum.update(sample.array());
        }
    }

    private String text() {
        return "%08x".formatted(checksum.getValue());
    }
}
