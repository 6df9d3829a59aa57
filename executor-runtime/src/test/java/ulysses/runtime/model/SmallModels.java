package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.memory.NativeRuntime;
import ulysses.runtime.memory.StateHome;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.TunedModel;

/** Fixture: two-layer models with random weights of all kinds, and random packed rows for them. */
public final class SmallModels {
    static {
        NativeRuntime.start(1);
    }

    /** Tokens that models of {@link #spec} know. */
    public static final int VOCABULARY = 96;

    private SmallModels() {}

    /** A model of {@code family} with heads of 8. */
    public static ModelSpec spec(String family, int heads, int kvHeads, String more) {
        return ModelSpec.parse("""
                {"model_type": "%s", "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2,
                 "num_attention_heads": %d, "num_key_value_heads": %d, "head_dim": 8, "vocab_size": %d,
                 "hidden_act": "silu", "rms_norm_eps": 1e-5, "max_position_embeddings": 128, "rope_theta": 10000.0,
                 "initializer_range": 0.1 %s}
                """.formatted(family, heads, kvHeads, VOCABULARY, more), "test");
    }

    /** A llama with 4 query heads over 2. */
    public static ModelSpec llama() {
        return spec("llama", 4, 2, "");
    }

    /** Drawn weights with noise on all of them, so that norms are not 1 and biases not 0. */
    public static Parameters parameters(ModelSpec spec, ComputeType compute) {
        return parameters(TunedModel.full(spec), compute);
    }

    /** The same of a model of which not all is trained: noise on what is. */
    public static Parameters parameters(TunedModel tuned, ComputeType compute) {
        Parameters parameters = new Parameters(tuned.plan(), compute, new Device("cpu"));
        InitialWeights weights = new InitialWeights(tuned.spec(), parameters);
        weights.draw(7);
        tuned.adapter().ifPresent(lora -> weights.drawAdapter(lora, 7));
        try (TensorScope scope = TensorScope.open()) {
            Tensor noise =
                    TensorArrays.gaussian(new Random(8), parameters.elements()).to(torch.ScalarType.Float);
            parameters.master().add_(noise.mul_(new Scalar(0.05)));
            parameters.publishMaster();
        }
        return parameters;
    }

    /** Of the same weights what a rank holds, with master weights in {@code home}. */
    public static Parameters parameters(TunedModel tuned, ComputeType compute, Sharding sharding, StateHome home) {
        try (Parameters whole = parameters(tuned, compute);
                TensorScope scope = TensorScope.open()) {
            Parameters cut = new Parameters(tuned.plan(), compute, new Device("cpu"), sharding, home);
            for (Parameter parameter : whole.all()) {
                Tensor start = parameter.isTrained()
                        ? whole.flatView(whole.master(), parameter.name())
                        : parameter.value().view(parameter.value().numel());
                cut.start(parameter.name(), start);
            }
            return cut;
        }
    }

    /** {@code count} rows of one to four documents with 1 to {@code longest} tokens; about a third of the labels count. */
    public static List<PackedRow> rows(long seed, int count, int longest) {
        Random random = new Random(seed);
        List<PackedRow> rows = new ArrayList<>();
        for (int r = 0; r < count; r++) {
            int[] documents = random.ints(1 + random.nextInt(4), 1, longest + 1).toArray();
            int length = Arrays.stream(documents).sum();
            int[] ids = random.ints(length, 0, VOCABULARY).toArray();
            int[] labels = Arrays.stream(ids)
                    .map(id -> random.nextInt(3) == 0 ? id : PackedRow.IGNORE_INDEX)
                    .toArray();
            rows.add(new PackedRow(ids, labels, documents));
        }
        return rows;
    }
}
