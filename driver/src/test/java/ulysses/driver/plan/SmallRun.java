package ulysses.driver.plan;

import ulysses.driver.plan.RunShape.Batch;
import ulysses.driver.plan.RunShape.Mesh;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.weights.ModelSpec;

/** A model small enough to count by hand: 256 numbers in the tied embedding, 592 in each of two layers, 8 in the last norm. */
final class SmallRun {
    static final long PARAMETERS = 256 + 2 * 592 + 8;

    private SmallRun() {}

    static ModelSpec model(String... more) {
        String fields = more.length == 0 ? "" : ", " + String.join(", ", more);
        return ModelSpec.parse("""
                {"model_type": "mistral", "hidden_size": 8, "intermediate_size": 16, "num_hidden_layers": 2,
                 "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 32, "tie_word_embeddings": true%s}""".formatted(fields), "config.json");
    }

    /** One row of 64 tokens on {@code group} CPU ranks in float32; layers keep what attention gave. */
    static RunShape shape(int group) {
        return shape(group, 2);
    }

    /** The same of a model with {@code layers} layers. */
    static RunShape shape(int group, int layers) {
        return new RunShape(
                model("\"sliding_window\": null", "\"num_hidden_layers\": " + layers),
                ComputeType.FLOAT32,
                ActivationMemory.ATTENTION,
                Device.CPU,
                64,
                new Batch(1, 1),
                new Mesh(1, group));
    }

    /** A device of 10^12 operations and 10^9 bytes a second with {@code bytes} of memory, of which nothing is reserved. */
    static HardwareProfile device(String name, double bytes) {
        return new HardwareProfile(name, bytes / (1L << 30), 0.95, 0, 1, 1, 0.5, 0, 1, 1, 0.1, 1, 4);
    }
}
