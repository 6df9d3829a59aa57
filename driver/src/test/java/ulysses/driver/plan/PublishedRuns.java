package ulysses.driver.plan;

import java.util.Locale;
import ulysses.driver.plan.RunShape.Batch;
import ulysses.driver.plan.RunShape.Mesh;
import ulysses.driver.plan.RunShape.States;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.weights.ModelSpec;

/** Run by hand: what plan says of runs that others have published, beside what they measured; all of Llama 3.1 8B in bfloat16. */
final class PublishedRuns {
    private static final ModelSpec LLAMA_8B = ModelSpec.parse("""
            {"model_type": "llama", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
             "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256}""", "config.json");

    private PublishedRuns() {}

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
        return new RunShape(
                LLAMA_8B, ComputeType.BFLOAT16, ActivationMemory.NONE, Device.CUDA, tokens, new Batch(1, 1), mesh);
    }

    private static HardwareProfile hardware(String name) {
        return HardwareProfile.all().stream()
                .filter(profile -> profile.name().equals(name))
                .findFirst()
                .orElseThrow();
    }
}
