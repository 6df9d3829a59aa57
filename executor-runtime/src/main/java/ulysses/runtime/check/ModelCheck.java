package ulysses.runtime.check;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.bytedeco.pytorch.Tensor;
import ulysses.runtime.check.GpuCheck.Measured;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.memory.Offload;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.CausalLm;
import ulysses.runtime.model.InitialWeights;
import ulysses.runtime.model.ParameterSharing;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.objective.NextToken;
import ulysses.runtime.optimizer.AdamW;
import ulysses.runtime.segment.OffloadedSegments;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.training.SequenceStep;
import ulysses.runtime.training.StepMetrics;
import ulysses.runtime.training.TrainStep;
import ulysses.runtime.weights.ModelSpec;

/** Loss, every gradient and the weights after some steps of a small model on CUDA, against the same on the CPU in float32. */
final class ModelCheck {

    private static final int VOCABULARY = 1000;
    private static final int STEPS = 5;
    private static final double RATE = 1e-3;

    private ModelCheck() {}

    static List<Measured> run() {
        List<Measured> results = new ArrayList<>();
        for (String family : List.of("llama", "qwen3")) {
            ModelSpec spec = spec(family);
            List<StepBatches> steps = steps();
            try (Run host = new Run(spec, ComputeType.FLOAT32, ParallelConfig.Device.CPU);
                    Run exact = new Run(spec, ComputeType.FLOAT32, ParallelConfig.Device.CUDA);
                    Run narrow = new Run(spec, ComputeType.BFLOAT16, ParallelConfig.Device.CUDA)) {
                host.train(steps.subList(0, 1));
                exact.train(steps.subList(0, 1));
                narrow.train(steps.subList(0, 1));
                results.add(loss(family + " float32", exact, host, 1e-5));
                results.add(new Measured(
                        family + " float32: largest difference of a gradient", worstGradient(exact, host), 1e-4));
                results.add(loss(family + " bfloat16", narrow, host, 1e-2));
                results.add(new Measured(
                        family + " bfloat16: all gradients",
                        scoped(narrow.parameters.gradients(), host.parameters.gradients()),
                        3e-2));
                host.train(steps.subList(1, STEPS));
                exact.train(steps.subList(1, STEPS));
                narrow.train(steps.subList(1, STEPS));
                results.add(loss("%s float32, step %d".formatted(family, STEPS), exact, host, 1e-5));
                results.add(new Measured(
                        "%s float32: weights after %d steps, by how far they moved".formatted(family, STEPS),
                        moved(exact, host),
                        1e-2)); // where a gradient is near 0, Adam turns rounding into a step
                results.add(loss("%s bfloat16, step %d".formatted(family, STEPS), narrow, host, 1e-2));
            }
            results.add(offloaded(family, spec, steps));
        }
        return results;
    }

    /** All that layers keep in pinned host memory between forward and backward, against all of it on the device. */
    private static Measured offloaded(String family, ModelSpec spec, List<StepBatches> steps) {
        CausalLm.Layers keeping = new CausalLm.Layers(ParallelConfig.Device.CUDA, ActivationMemory.FULL);
        try (Offload offload = Offload.toHost(0);
                Run here = new Run(spec, ComputeType.FLOAT32, keeping);
                Run away = new Run(spec, ComputeType.FLOAT32, keeping.with(new OffloadedSegments(offload)))) {
            here.train(steps.subList(0, 1));
            away.train(steps.subList(0, 1));
            return new Measured(
                    family + " float32, activations offloaded: largest difference of a gradient",
                    worstGradient(away, here),
                    1e-5); // kernels that add atomically round differently each time
        }
    }

    private static ModelSpec spec(String family) {
        return ModelSpec.parse("""
                {"model_type": "%s", "hidden_size": 256, "intermediate_size": 512, "num_hidden_layers": 3,
                 "num_attention_heads": 8, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": %d,
                 "hidden_act": "silu", "rms_norm_eps": 1e-6, "max_position_embeddings": 2048, "rope_theta": 10000.0,
                 "initializer_range": 0.05, "tie_word_embeddings": false}
                """.formatted(family, VOCABULARY), "gpu check");
    }

    private static List<StepBatches> steps() {
        Random random = new Random(11);
        List<StepBatches> steps = new ArrayList<>();
        for (int step = 0; step < STEPS; step++) {
            int[] documents = {500, 1, 123, 77};
            int tokens = 701;
            int[] ids = random.ints(tokens, 0, VOCABULARY).toArray();
            int[] labels = ids.clone();
            for (int t = 0; t < tokens; t++) {
                labels[t] = random.nextInt(3) == 0 ? PackedRow.IGNORE_INDEX : labels[t];
            }
            MicroBatch batch = MicroBatch.of(List.of(new PackedRow(ids, labels, documents)), 8);
            steps.add(new StepBatches(List.of(batch), batch.trainedTokens(), tokens, documents.length, 1, false));
        }
        return steps;
    }

    private static Measured loss(String what, Run found, Run expected, double limit) {
        double right = expected.last().loss();
        return new Measured(what + ": loss", Math.abs(found.last().loss() - right) / right, limit);
    }

    private static double worstGradient(Run found, Run expected) {
        double worst = 0;
        for (Parameter parameter : expected.parameters.all()) {
            double difference = scoped(found.parameters.get(parameter.name()).gradient(), parameter.gradient());
            worst = Double.isNaN(difference) ? difference : Math.max(worst, difference);
        }
        return worst;
    }

    private static double moved(Run found, Run expected) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor start = expected.start;
            return Difference.relative(
                    found.parameters
                            .master()
                            .to(start.device(), start.scalar_type())
                            .sub(start),
                    expected.parameters.master().sub(start));
        }
    }

    private static double scoped(Tensor found, Tensor expected) {
        try (TensorScope scope = TensorScope.open()) {
            return Difference.relative(found, expected);
        }
    }

    /** One model, with its own weights drawn alike, trained by one rank. */
    private static final class Run implements AutoCloseable {
        private final Parameters parameters;
        private final Tensor start;
        private final AdamW optimizer;
        private final TrainStep step;
        private final List<StepMetrics> metrics = new ArrayList<>();

        Run(ModelSpec spec, ComputeType compute, ParallelConfig.Device device) {
            this(spec, compute, new CausalLm.Layers(device, ActivationMemory.ATTENTION));
        }

        Run(ModelSpec spec, ComputeType compute, CausalLm.Layers how) {
            Collectives alone = new SingleRank("gpu check");
            this.parameters = new Parameters(
                    spec,
                    compute,
                    new org.bytedeco.pytorch.Device(how.device() == ParallelConfig.Device.CPU ? "cpu" : "cuda:0"));
            new InitialWeights(spec, parameters).draw(5);
            try (TensorScope scope = TensorScope.open()) {
                this.start = TensorScope.own(parameters.master().clone());
            }
            StepConfig config = new StepConfig(
                    1, 1, RATE, 1, STEPS, "constant", Map.of(), 0, 0, 0.1, 0.9, 0.999, 1e-8, 1, 5, 5, false);
            this.optimizer = new AdamW(parameters, config);
            CausalLm model = new CausalLm(spec, parameters, how, alone);
            SequenceStep sequence = new SequenceStep(model, new NextToken(model.head()), alone);
            this.step =
                    new TrainStep(sequence, new ParameterSharing(parameters, alone), optimizer, config.maxGradNorm());
        }

        void train(List<StepBatches> steps) {
            steps.forEach(batches -> metrics.add(step.run(batches, RATE)));
        }

        StepMetrics last() {
            return metrics.get(metrics.size() - 1);
        }

        @Override
        public void close() {
            optimizer.close();
            start.close();
            parameters.close();
        }
    }
}
