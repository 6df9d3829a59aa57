package ulysses.runtime.model;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.zip.CRC32C;
import org.bytedeco.pytorch.Generator;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorBytes;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.WeightIndex;

/** Fills the master weights of a model at the start of a run: from Hugging Face files, or at random. */
public final class InitialWeights {

    private final ModelSpec spec;
    private final Parameters parameters;

    /** For all {@code parameters} of {@code spec}. */
    public InitialWeights(ModelSpec spec, Parameters parameters) {
        this.spec = spec;
        this.parameters = parameters;
    }

    /** Reads every parameter from {@code files}, widened to float32. */
    public void load(WeightIndex files) {
        for (ParameterSpec parameter : spec.parameters()) {
            set(
                    parameter,
                    staging -> TensorBytes.forEach(
                            staging,
                            (offset, buffer) -> files.readFloat32(parameter.name(), offset / Float.BYTES, buffer)));
        }
        parameters.publishMaster();
    }

    /**
     * Draws weights as transformers initialises these models: linear and embedding weights from N(0, initializer_range), biases 0,
     * norms 1, and the embedding of a padding token 0. Every parameter has its own stream, seeded by the run's seed and its name, so all ranks draw the same.
     */
    public void draw(long seed) {
        for (ParameterSpec parameter : spec.parameters()) {
            set(parameter, staging -> {
                if (parameter.name().endsWith("norm.weight")) {
                    staging.fill_(new org.bytedeco.pytorch.Scalar(1.0));
                } else if (parameter.name().endsWith(".weight")) {
                    Generator generator = torch.createCPUGenerator(seedOf(seed, parameter.name()));
                    staging.normal_(0, spec.initializerRange(), new GeneratorOptional(generator));
                }
                if (parameter.name().equals(ModelSpec.EMBEDDING) && spec.padId() != null) {
                    long row = (long) spec.padId() * spec.hiddenSize();
                    staging.narrow(0, row, spec.hiddenSize()).zero_();
                }
            });
        }
        parameters.publishMaster();
    }

    private static long seedOf(long seed, String name) {
        CRC32C checksum = new CRC32C();
        checksum.update(name.getBytes(StandardCharsets.UTF_8));
        return seed * 0x9E3779B97F4A7C15L + checksum.getValue();
    }

    private interface Filling {
        void fill(Tensor staging) throws IOException;
    }

    private void set(ParameterSpec parameter, Filling filling) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor staging =
                    torch.zeros(new long[] {parameter.elements()}, new TensorOptions()); // float32, host memory
            filling.fill(staging);
            parameters.flatView(parameters.master(), parameter.name()).copy_(staging);
        } catch (IOException e) {
            throw new UncheckedIOException("reading " + parameter.name() + ": " + e.getMessage(), e);
        }
    }
}
