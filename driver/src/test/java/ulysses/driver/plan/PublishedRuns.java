package ulysses.driver.plan;

import java.util.Comparator;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Stream;
import ulysses.driver.plan.RunShape.Batch;
import ulysses.driver.plan.RunShape.Mesh;
import ulysses.driver.plan.RunShape.States;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.weights.ModelSpec;

/** Run by hand: what plan says of runs that others have published, beside what they measured; all in bfloat16. */
final class PublishedRuns {
    private static final ModelSpec LLAMA_8B = ModelSpec.parse("""
            {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
             "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}""", "config.json");

    /** GPT's layers as Llama's of the same size: 8 D² weights of an MLP are three products of width 8 D / 3. */
    private static final ModelSpec GPT_7B = gpt(4096, 32, 32);

    private static final ModelSpec GPT_30B = gpt(6656, 60, 52);

    private PublishedRuns() {}

    private static ModelSpec gpt(int hidden, int layers, int heads) {
        return ModelSpec.parse(
                "{\"model_type\": \"llama\", \"hidden_size\": %d, \"intermediate_size\": %d, \"num_hidden_layers\": %d, \"num_attention_heads\": %d, \"num_key_value_heads\": %d, \"vocab_size\": 50304}"
                        .formatted(hidden, 8 * hidden / 3, layers, heads, heads),
                "config.json");
    }

    public static void main(String[] arguments) {
        System.out.println(
                "tokens/s of a GPU (torchtitan, docs/performance.md, table 2: 8 H100, FSDP and context parallel, float8)");
        speed(32_768, 1, 3_890);
        speed(65_536, 2, 2_540);
        speed(131_072, 4, 1_071);
        speed(262_144, 8, 548);
        System.out.println("longest sequence (ALST, arXiv:2506.13996)");
        length("h100", 1, 500_000);
        length("h100", 8, 3_700_000);
        length("h200", 1, 1_200_000);
        System.out.println(
                "TFLOP/s of a GPU (DeepSpeed-Ulysses, figures 3 and 4, read off to 0.3: 32 and 64 A100 40 GB, ZeRO-3)");
        paper("7B", GPT_7B, 32, new int[] {8, 16, 32, 64, 256}, new double[] {158.8, 175.3, 177.6, 181.1, 174.4});
        paper("30B", GPT_30B, 64, new int[] {8, 16, 32, 64, 256}, new double[] {165.6, 157.4, 152.1, 147.0, 134.1});
    }

    private static void speed(int tokens, int group, double published) {
        RunPlan plan = RunPlan.of(shape(tokens, new Mesh(8 / group, group, new States(3, false))), hardware("h100"));
        double predicted = plan.time().tokensPerSecond() / 8;
        System.out.println(String.format(
                Locale.ROOT,
                "| %,d tokens, groups of %d | %,.0f | %,.0f | %.2f | %s |",
                tokens,
                group,
                published,
                predicted,
                predicted / published,
                plan.fits() ? "fits" : "does not fit"));
    }

    private static void length(String hardware, int ranks, double published) {
        int states = longest(hardware, ranks, false);
        int activations = longest(hardware, ranks, true);
        System.out.println(String.format(
                Locale.ROOT,
                "| %d x %s | %,.0f | %,d | %.2f | %,d | %.2f |",
                ranks,
                hardware,
                published,
                states,
                states / published,
                activations,
                activations / published));
    }

    private static int longest(String hardware, int ranks, boolean offloadsActivations) {
        States states = new States(ranks == 1 ? 0 : 3, true, offloadsActivations, false);
        return RunPlan.of(shape(64 * ranks, new Mesh(1, ranks, states)), hardware(hardware))
                .longestRow()
                .orElse(0);
    }

    private static RunShape shape(int tokens, Mesh mesh) {
        return shape(LLAMA_8B, tokens, new Batch(1, 1), mesh);
    }

    private static RunShape shape(ModelSpec model, int tokens, Batch batch, Mesh mesh) {
        return new RunShape(model, ComputeType.BFLOAT16, ActivationMemory.NONE, Device.CUDA, tokens, batch, mesh);
    }

    /** Groups and micro-batches are not published but "optimal": those that the plan likes best are taken. */
    private static void paper(String name, ModelSpec model, int ranks, int[] kilotokens, double[] published) {
        for (int i = 0; i < kilotokens.length; i++) {
            int tokens = kilotokens[i] * 1024;
            Optional<RunPlan> best = Stream.iterate(
                            1, group -> group <= Math.min(ranks, model.heads()), group -> 2 * group)
                    .flatMap(group -> Stream.of(1, 2, 4, 8, 16)
                            .map(rows -> shape(
                                    model,
                                    tokens,
                                    new Batch(rows, 1),
                                    new Mesh(ranks / group, group, new States(3, false)))))
                    .map(shape -> RunPlan.of(shape, hardware("a100-40")))
                    .filter(RunPlan::fits)
                    .max(Comparator.comparingDouble(plan -> plan.time().tokensPerSecond()));
            double expected = published[i];
            System.out.println(best.map(plan -> {
                        double predicted = counted(model, tokens) * plan.time().tokensPerSecond() / ranks / 1e12;
                        return String.format(
                                Locale.ROOT,
                                "| %s, %dK tokens | %.0f | %.0f | %.2f | groups of %d, %d rows |",
                                name,
                                tokens / 1024,
                                expected,
                                predicted,
                                predicted / expected,
                                plan.shape().mesh().group(),
                                plan.shape().batch().rows());
                    })
                    .orElse("| %s, %dK tokens | %.0f | does not fit |".formatted(name, tokens / 1024, expected)));
        }
    }

    /**
     * Operations a token as Megatron's formula counts them (arXiv:2104.04473, section 5.1, equation 3): with recomputation, and every
     * query with every key.
     */
    private static double counted(ModelSpec model, int tokens) {
        double hidden = model.hiddenSize();
        return 96
                * model.layers()
                * hidden
                * hidden
                * (1 + tokens / (6 * hidden) + model.vocabularySize() / (16 * model.layers() * hidden));
    }

    private static HardwareProfile hardware(String name) {
        return HardwareProfile.all().stream()
                .filter(profile -> profile.name().equals(name))
                .findFirst()
                .orElseThrow();
    }
}
