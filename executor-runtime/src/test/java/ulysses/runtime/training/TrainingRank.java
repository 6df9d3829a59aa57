package ulysses.runtime.training;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.Device;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.ProcessGroups;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.config.StrategyConfig;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.gradient.GradientStrategies;
import ulysses.runtime.memory.Offload;
import ulysses.runtime.memory.StateHome;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.model.CausalLm;
import ulysses.runtime.model.ParameterSharing;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.model.Sharding;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.objective.NextToken;
import ulysses.runtime.optimizer.AdamW;
import ulysses.runtime.segment.OffloadedSegments;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.TunedModel;

/** Fixture: what one rank trains with, over any groups; all ranks start with the same weights. */
final class TrainingRank implements AutoCloseable {

    private final TunedModel tuned;
    private final ParameterSharing sharing;
    private final Parameters parameters;
    private final AdamW optimizer;
    private final Offload activations;
    private final SequenceStep sequence;
    private final TrainStep step;

    /** What is held off the device. */
    enum Offloaded {
        NOTHING,
        OPTIMIZER,
        ACTIVATIONS
    }

    /** How it trains. */
    record How(
            ComputeType compute,
            boolean checkpointing,
            double maxGradNorm,
            StrategyConfig strategies,
            int zeroStage,
            Offloaded offload) {
        static final How PLAIN = new How(ComputeType.FLOAT32, true, 0, StrategyConfig.NONE, 0, Offloaded.NOTHING);

        How with(ComputeType other) {
            return new How(other, checkpointing, maxGradNorm, strategies, zeroStage, offload);
        }

        How withLimit(double limit) {
            return new How(compute, checkpointing, limit, strategies, zeroStage, offload);
        }

        How withoutCheckpointing() {
            return new How(compute, false, maxGradNorm, strategies, zeroStage, offload);
        }

        How with(StrategyConfig others) {
            return new How(compute, checkpointing, maxGradNorm, others, zeroStage, offload);
        }

        How withOffloadedOptimizer() {
            return new How(compute, checkpointing, maxGradNorm, strategies, zeroStage, Offloaded.OPTIMIZER);
        }

        How withOffloadedActivations() {
            return new How(compute, checkpointing, maxGradNorm, strategies, zeroStage, Offloaded.ACTIVATIONS);
        }

        How withStage(int stage) {
            return new How(compute, checkpointing, maxGradNorm, strategies, stage, offload);
        }
    }

    private TrainingRank(TunedModel tuned, How how, Collectives group, Collectives world) {
        StateHome home = how.offload() == Offloaded.OPTIMIZER
                ? StateHome.mappedIn(Path.of(System.getProperty("java.io.tmpdir")))
                : StateHome.on(new Device("cpu"));
        this.tuned = tuned;
        this.parameters = SmallModels.parameters(
                tuned, how.compute(), Sharding.of(how.zeroStage(), world.rank(), world.size()), home);
        this.sharing = new ParameterSharing(parameters, world);
        this.optimizer = new AdamW(
                parameters,
                new StepConfig(1, 1, 1e-3, 1, 9, "constant", Map.of(), 0, 0, 0.1, 0.9, 0.999, 1e-8, 1, 7, 7, false),
                home);
        CausalLm.Layers layers = new CausalLm.Layers(
                ParallelConfig.Device.CPU, how.checkpointing() ? ActivationMemory.ATTENTION : ActivationMemory.FULL);
        this.activations = Offload.toFiles(Path.of(System.getProperty("java.io.tmpdir")));
        CausalLm model = new CausalLm(
                tuned.spec(),
                sharing,
                tuned.adapter().map(lora -> new CausalLm.Adapter(lora, 7)),
                how.offload() == Offloaded.ACTIVATIONS ? layers.with(new OffloadedSegments(activations)) : layers,
                group);
        this.sequence = new SequenceStep(model, new NextToken(model.head()), group);
        this.step = new TrainStep(
                sequence, sharing, optimizer, how.maxGradNorm(), new GradientStrategies(how.strategies(), 7));
    }

    /** One of the ranks of {@code groups}. */
    static TrainingRank of(ModelSpec spec, How how, ProcessGroups groups) {
        return of(TunedModel.full(spec), how, groups);
    }

    /** One of the ranks of {@code groups}, which trains what {@code tuned} says. */
    static TrainingRank of(TunedModel tuned, How how, ProcessGroups groups) {
        return new TrainingRank(tuned, how, groups.sequenceParallel(), groups.world());
    }

    /** The only rank. */
    static TrainingRank alone(ModelSpec spec, How how) {
        return new TrainingRank(TunedModel.full(spec), how, new SingleRank("one"), new SingleRank("one"));
    }

    Parameters parameters() {
        return parameters;
    }

    AdamW optimizer() {
        return optimizer;
    }

    SequenceStep sequence() {
        return sequence;
    }

    ModelState state() {
        return new ModelState(tuned, sharing, optimizer);
    }

    StepMetrics step(StepBatches batches, double rate) {
        return step.run(batches, rate);
    }

    /** {@code rows} as one step: dealt to data-parallel groups and micro-batches in order, evenly. */
    static StepBatches batches(List<PackedRow> rows, RankMesh mesh, int worldRank, int accumulation) {
        int rowsPerMicroBatch = rows.size() / (mesh.dataParallelSize() * accumulation);
        List<MicroBatch> batches = new ArrayList<>();
        for (int m = 0; m < accumulation; m++) {
            int first = (m * mesh.dataParallelSize() + mesh.dataParallelRank(worldRank)) * rowsPerMicroBatch;
            batches.add(
                    MicroBatch.of(rows.subList(first, first + rowsPerMicroBatch), mesh.sequenceParallelSize(), first));
        }
        long trained = rows.stream().mapToLong(PackedRow::trainedTokens).sum();
        long tokens = rows.stream().mapToLong(PackedRow::tokens).sum();
        return new StepBatches(batches, trained, tokens, 0, rows.size(), false);
    }

    @Override
    public void close() {
        activations.close();
        sharing.close();
        optimizer.close();
        parameters.close();
    }
}
