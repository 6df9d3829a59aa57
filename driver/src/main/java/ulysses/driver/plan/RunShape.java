package ulysses.driver.plan;

import java.util.List;
import java.util.stream.Stream;
import ulysses.runtime.config.ActivationMemory;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.config.PreferenceConfig;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.mesh.HeadLayout;
import ulysses.runtime.weights.KeptActivations;
import ulysses.runtime.weights.KeptActivations.Strength;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.TunedModel;

/**
 * Everything of a run that decides about memory and time.
 *
 * @param tuned the model, and what of it is trained
 * @param compute what it computes with
 * @param activations what layers keep for backward; what {@code auto} finds at run time is not known here and counts as attention
 * @param device where ranks compute
 * @param rowTokens tokens of a text, or of an answer: {@code cutoff_len}
 * @param batch rows and micro-batches
 * @param mesh groups and ranks
 * @param comparison what preference training adds
 */
public record RunShape(
        TunedModel tuned,
        ComputeType compute,
        ActivationMemory activations,
        Device device,
        int rowTokens,
        Batch batch,
        Mesh mesh,
        Comparison comparison) {

    /**
     * What an optimizer step takes.
     *
     * @param rows rows of a micro-batch of one group
     * @param accumulation micro-batches a step
     */
    public record Batch(int rows, int accumulation) {}

    /**
     * How ranks are arranged.
     *
     * @param groups sequence-parallel groups, DP
     * @param group ranks of one, P
     * @param states what each holds of the model's states
     */
    public record Mesh(int groups, int group, States states) {
        /** Where every rank holds all states. */
        public Mesh(int groups, int group) {
            this(groups, group, new States(0, false));
        }

        /** All ranks. */
        public int ranks() {
            return groups * group;
        }

        /** The stage that has an effect: one rank has nobody to share with. */
        int stage() {
            return ranks() == 1 ? 0 : states.zeroStage();
        }

        private Mesh with(States other) {
            return new Mesh(groups, group, other);
        }

        private Mesh withGroup(int other) {
            return new Mesh(groups, other, states);
        }
    }

    /**
     * What a rank holds of the model's states.
     *
     * @param zeroStage which of them are cut over all ranks
     * @param offloadsOptimizer whether moments, and master weights that are not the weights, are off the device
     * @param offloadsActivations whether what layers keep is off the device between forward and backward
     * @param saves whether checkpoints are written, of which host memory holds a copy meanwhile
     */
    public record States(int zeroStage, boolean offloadsOptimizer, boolean offloadsActivations, boolean saves) {

        /** How many things are off the device. */
        int offloads() {
            return (offloadsOptimizer ? 1 : 0) + (offloadsActivations ? 1 : 0);
        }

        /** The same run with another stage, with each offload and without. */
        List<States> offloadsOf(int stage) {
            return Stream.of(false, true)
                    .flatMap(optimizer ->
                            Stream.of(false, true).map(layers -> new States(stage, optimizer, layers, saves)))
                    .toList();
        }

        private States withStage(int stage) {
            return new States(stage, offloadsOptimizer, offloadsActivations, saves);
        }

        private States withOffloadedOptimizer() {
            return new States(zeroStage, true, offloadsActivations, saves);
        }

        private States withOffloadedActivations() {
            return new States(zeroStage, offloadsOptimizer, true, saves);
        }

        /** Of a run that keeps activations in place and writes no checkpoints. */
        public States(int zeroStage, boolean offloadsOptimizer) {
            this(zeroStage, offloadsOptimizer, false, false);
        }
    }

    /**
     * What preference training adds.
     *
     * @param answers texts of {@code rowTokens} in a row: 2 in a pair, else 1
     * @param askedOnly numbers of a second model that is held and never trained, the reference; taken to be as large as the first
     */
    public record Comparison(int answers, long askedOnly) {
        /** Of a run that compares nothing. */
        public static final Comparison NONE = new Comparison(1, 0);

        private static Comparison of(TrainingConfig config, TunedModel model) {
            PreferenceConfig preference = config.preference();
            if (preference == null) {
                return NONE;
            }
            boolean holdsOne = preference.loss().comparesWithReference()
                    && !preference.precomputed()
                    && (preference.refModel() != null || model.adapter().isEmpty());
            return new Comparison(2, holdsOne ? model.spec().parameterCount() : 0);
        }
    }

    public RunShape {
        if (mesh.group() > tuned.spec().heads()) {
            throw new IllegalArgumentException("sequence_parallel_size %d is more than num_attention_heads %d"
                    .formatted(mesh.group(), tuned.spec().heads()));
        }
    }

    /** A run that trains all of {@code model}. */
    public RunShape(
            ModelSpec model,
            ComputeType compute,
            ActivationMemory activations,
            Device device,
            int rowTokens,
            Batch batch,
            Mesh mesh) {
        this(TunedModel.full(model), compute, activations, device, rowTokens, batch, mesh, Comparison.NONE);
    }

    /** The shape of the model. */
    public ModelSpec model() {
        return tuned.spec();
    }

    /** Numbers that are trained. */
    long trained() {
        return tuned.plan().trainedElements();
    }

    /** The run that {@code config} describes; one sequence-parallel group where the number of ranks is left to the cluster. */
    public static RunShape of(TrainingConfig config, TunedModel model) {
        int group = config.parallel().sequenceParallelSize();
        return new RunShape(
                model,
                config.model().computeType(),
                config.model().activationMemory(),
                config.parallel().device(),
                config.data().cutoffLength(),
                new Batch(config.step().rowsPerRank(), config.step().accumulation()),
                new Mesh(
                        Math.max(1, config.parallel().ranks() / group),
                        group,
                        new States(
                                config.parallel().zeroStage(),
                                config.parallel().offloadsOptimizer(),
                                config.parallel().offloadsActivations(),
                                config.output().saveStrategy() != TrainingConfig.SaveStrategy.NO)),
                Comparison.of(config, model));
    }

    /** The same run on another device. */
    public RunShape on(Device other) {
        return new RunShape(tuned, compute, activations, other, rowTokens, batch, mesh, comparison);
    }

    /** The same run with other rows. */
    public RunShape withRowTokens(int tokens) {
        return new RunShape(tuned, compute, activations, device, tokens, batch, mesh, comparison);
    }

    /** The same run with as many groups of {@code group} ranks. */
    public RunShape withGroup(int group) {
        return new RunShape(tuned, compute, activations, device, rowTokens, batch, mesh.withGroup(group), comparison);
    }

    /** The same run with another ZeRO stage. */
    public RunShape withStage(int zeroStage) {
        return with(mesh.states().withStage(zeroStage));
    }

    /** The same run with optimizer states and master weights off the device. */
    public RunShape withOffloadedOptimizer() {
        return with(mesh.states().withOffloadedOptimizer());
    }

    /** The same run with what layers keep off the device between forward and backward. */
    public RunShape withOffloadedActivations() {
        return with(mesh.states().withOffloadedActivations());
    }

    private RunShape with(States states) {
        return new RunShape(tuned, compute, activations, device, rowTokens, batch, mesh.with(states), comparison);
    }

    /** The same run with another number of rows in a micro-batch. */
    public RunShape withRows(int rows) {
        return new RunShape(
                tuned,
                compute,
                activations,
                device,
                rowTokens,
                new Batch(rows, batch.accumulation()),
                mesh,
                comparison);
    }

    /** The same run with layers that keep something else. */
    public RunShape keeping(ActivationMemory other) {
        return new RunShape(tuned, compute, other, device, rowTokens, batch, mesh, comparison);
    }

    /** The same run in bfloat16. */
    public RunShape inBfloat16() {
        return new RunShape(tuned, ComputeType.BFLOAT16, activations, device, rowTokens, batch, mesh, comparison);
    }

    /** Tokens of a micro-batch of a group, S: all its rows, padded to a multiple of P. */
    public long sequence() {
        long tokens = (long) rowTokens * comparison.answers() * batch.rows();
        return (tokens + mesh.group() - 1) / mesh.group() * mesh.group();
    }

    /** Tokens of one rank's part, s. */
    public long part() {
        return sequence() / mesh.group();
    }

    /** Bytes of an element of what is computed. */
    int elementBytes() {
        return isBfloat16() ? 2 : 4;
    }

    boolean isBfloat16() {
        return compute == ComputeType.BFLOAT16;
    }

    /** How heads are dealt to the ranks of a group. */
    public HeadLayout heads() {
        return new HeadLayout(model().heads(), model().kvHeads(), mesh.group());
    }

    /** What a layer may keep. */
    KeptActivations kept() {
        return new KeptActivations(
                model(), part(), sequence(), heads().mostQueries(), heads().mostKvsOfAttention(), elementBytes());
    }

    /** What each layer keeps, first layer first. */
    public List<Strength> strengths() {
        return switch (activations.kind()) {
            case NONE -> kept().all(Strength.INPUT);
            case ATTENTION, AUTO -> kept().all(Strength.ATTENTION);
            case FULL -> kept().all(Strength.EVERYTHING);
            case BYTES -> kept().within(activations.bytes());
        };
    }

    /** Layers that keep at least {@code strength}. */
    int layersKeeping(Strength strength) {
        return (int)
                strengths().stream().filter(it -> it.compareTo(strength) >= 0).count();
    }

    /** Whether anything is exchanged within a group. */
    boolean isSplit() {
        return mesh.group() > 1;
    }
}
