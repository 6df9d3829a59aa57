package ulysses.runtime.model;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.zip.CRC32C;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorBytes;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.weights.FloatWeights;
import ulysses.runtime.weights.LoraSpec;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterSpec;

/**
 * Fills the weights of a model at the start of a run: from Hugging Face files, or at random. Every rank goes through all of them and
 * keeps what it holds.
 */
public final class InitialWeights {

    private final ModelSpec spec;
    private final Parameters parameters;
    private final Runnable progress;

    /** For all {@code parameters} of {@code spec}. */
    public InitialWeights(ModelSpec spec, Parameters parameters) {
        this(spec, parameters, () -> {});
    }

    /** The same; {@code progress} is told of each parameter that is filled. */
    public InitialWeights(ModelSpec spec, Parameters parameters, Runnable progress) {
        this.spec = spec;
        this.parameters = parameters;
        this.progress = progress;
    }

    /** Reads every parameter of the model from {@code files}. */
    public void load(FloatWeights files) {
        load(spec.parameters(), files);
    }

    /** Reads every parameter of the adapter {@code lora} from {@code files}. */
    public void loadAdapter(LoraSpec lora, FloatWeights files) {
        load(lora.parameters(spec), files);
    }

    private void load(List<ParameterSpec> some, FloatWeights files) {
        for (ParameterSpec parameter : some) {
            set(
                    parameter,
                    staging -> TensorBytes.forEach(
                            staging,
                            (offset, buffer) -> files.readFloat32(parameter.name(), offset / Float.BYTES, buffer)));
        }
    }

    /**
     * Starts the adapter {@code lora} as PEFT does: A from U(-1/sqrt(in), 1/sqrt(in)), which is Kaiming's with a = sqrt(5), and B
     * zero. Modules that it brings whole start with the model's. Seeded by name, as {@link #draw}.
     */
    public void drawAdapter(LoraSpec lora, long seed) {
        for (ParameterSpec parameter : lora.parameters(spec)) {
            String name = parameter.name();
            if (name.endsWith(".lora_A.weight")) {
                double bound = 1 / Math.sqrt((double) parameter.shape()[1]);
                set(parameter, staging -> staging.uniform_(-bound, bound, generator(seed, name)));
            }
        }
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
                    staging.normal_(0, spec.initializerRange(), generator(seed, parameter.name()));
                }
                if (parameter.name().equals(ModelSpec.EMBEDDING) && spec.padId() != null) {
                    long row = (long) spec.padId() * spec.hiddenSize();
                    staging.narrow(0, row, spec.hiddenSize()).zero_();
                }
            });
        }
    }

    private static GeneratorOptional generator(long seed, String name) {
        return new GeneratorOptional(torch.createCPUGenerator(seedOf(seed, name)));
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
            parameters.start(parameter.name(), staging);
            startCopies(parameter.name(), staging);
            progress.run();
        } catch (IOException e) {
            throw new UncheckedIOException("reading " + parameter.name() + ": " + e.getMessage(), e);
        }
    }

    /** An adapter's own copy of a module starts with what the model computes with; that of a tied head with the embedding. */
    private void startCopies(String original, Tensor values) {
        List<String> copied = spec.tiedHead() && original.equals(ModelSpec.EMBEDDING)
                ? List.of(original, ModelSpec.HEAD)
                : List.of(original);
        copied.stream()
                .map(LoraSpec::copyOf)
                .filter(copy -> parameters.find(copy).isPresent())
                .forEach(copy ->
                        parameters.start(copy, values.to(parameters.weights().scalar_type())));
    }
}
