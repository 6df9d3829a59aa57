package ulysses.runtime.training;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Supplier;
import java.util.stream.Collectors;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.checkpoint.CheckpointReader;
import ulysses.runtime.checkpoint.StateTensor;
import ulysses.runtime.memory.TensorBytes;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.ParameterSharing;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.model.Sharding;
import ulysses.runtime.optimizer.AdamW;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.ParameterBlock;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.TensorData;
import ulysses.runtime.weights.TunedModel;

/**
 * Weights and optimizer states by parameter name, on their way to a checkpoint or an export and back. Nothing depends on the number
 * of ranks or on what they hold, so a checkpoint continues on any. Where an adapter is trained, its weights alone are stored, in
 * float32 as they are trained; else those of the whole model, in the compute dtype. Collective: every rank calls the same methods in
 * the same order, since weights that are cut over ranks are gathered.
 */
final class ModelState {

    private final TunedModel tuned;
    private final Parameters parameters;
    private final ParameterSharing sharing;
    private final AdamW optimizer;

    /** The state of a run. */
    ModelState(TunedModel tuned, ParameterSharing sharing, AdamW optimizer) {
        this.tuned = tuned;
        this.parameters = sharing.parameters();
        this.sharing = sharing;
        this.optimizer = optimizer;
    }

    /**
     * Weights as they are now; lives until they are written.
     *
     * @param copies in host memory, of what had to be gathered
     */
    record Weights(List<TensorData> tensors, List<Tensor> copies) implements AutoCloseable {
        @Override
        public void close() {
            copies.forEach(Tensor::close);
        }
    }

    /** All weights that are stored, on rank 0; none on others. */
    Weights exported() {
        return weights(sharing.world().rank() == 0 ? stored() : List.of());
    }

    private List<ParameterSpec> stored() {
        return tuned.adapter().isPresent()
                ? tuned.plan().trained()
                : tuned.spec().parameters();
    }

    /** The weights that {@code rank} of {@code ranks} writes: together they write each once, in shares of about equal size. */
    Weights weights(int rank, int ranks) {
        return weights(share(stored(), rank, ranks));
    }

    private Weights weights(List<ParameterSpec> wanted) {
        if (areHere()) {
            return new Weights(wanted.stream().map(this::weight).toList(), List.of());
        }
        Map<String, Tensor> copies = gathered(names(wanted));
        List<TensorData> tensors = wanted.stream()
                .map(parameter -> data(
                        parameter.name(),
                        storedType(),
                        parameter.shape(),
                        () -> Objects.requireNonNull(copies.get(parameter.name()))))
                .toList();
        return new Weights(tensors, List.copyOf(copies.values()));
    }

    /** Whether this rank holds all weights as they are stored. */
    private boolean areHere() {
        Sharding sharding = parameters.sharding();
        return !sharding.cutsStates() || (!sharding.cutsWeights() && !isWidened());
    }

    /** Copies in host memory of the weights {@code wanted}: all are gathered, block by block, by all ranks. */
    private Map<String, Tensor> gathered(Set<String> wanted) {
        Set<String> needed = names(stored());
        Map<String, Tensor> copies = new HashMap<>();
        sharing.forEachCut(
                isWidened() ? ParameterSharing.Kind.MASTER : ParameterSharing.Kind.COMPUTE,
                block -> holdsAny(block, needed),
                (parameter, values) -> {
                    if (wanted.contains(parameter.name())) {
                        copies.put(
                                parameter.name(), TensorScope.own(values.cpu().clone()));
                    }
                });
        return copies;
    }

    private static boolean holdsAny(ParameterBlock block, Set<String> names) {
        return block.places().stream()
                .anyMatch(place -> names.contains(place.parameter().name()));
    }

    private static Set<String> names(List<ParameterSpec> parameters) {
        return parameters.stream().map(ParameterSpec::name).collect(Collectors.toSet());
    }

    /** Both moments, and the master weights where they differ from the weights: what this rank owns, or its share of what all do. */
    List<TensorData> optimizerStates(int rank, int ranks) {
        List<TensorData> states = new ArrayList<>();
        boolean owned = parameters.sharding().cutsStates();
        Set<String> mine =
                names(owned ? tuned.plan().trained() : share(tuned.plan().trained(), rank, ranks));
        for (Parameters.Share share : parameters.shares()) {
            for (ParameterBlock.Piece piece :
                    share.block().pieces(parameters.sharding().rank())) {
                if (mine.contains(piece.place().parameter().name())) {
                    states.add(state(StateTensor.EXP_AVG, piece, () -> inShare(optimizer.firstMoment(), share)));
                    states.add(state(StateTensor.EXP_AVG_SQ, piece, () -> inShare(optimizer.secondMoment(), share)));
                    if (isRounded()) {
                        states.add(state(StateTensor.MASTER, piece, share::master));
                    }
                }
            }
        }
        return states;
    }

    private static Tensor inShare(Tensor owned, Parameters.Share share) {
        return owned.narrow(0, share.first(), share.block().slice());
    }

    private static List<ParameterSpec> share(List<ParameterSpec> all, int rank, int ranks) {
        List<ParameterSpec> share = new ArrayList<>();
        double total = all.stream().mapToLong(ParameterSpec::elements).sum();
        double before = 0;
        for (ParameterSpec parameter : all) {
            double middle = (before + parameter.elements() / 2.0) / total;
            if ((int) (middle * ranks) == rank) {
                share.add(parameter);
            }
            before += parameter.elements();
        }
        return share;
    }

    /** Whether trained weights are stored narrower than they are trained. */
    private boolean isRounded() {
        return parameters.isMixed() && tuned.adapter().isEmpty();
    }

    /** Whether trained weights are stored wider than compute uses them. */
    private boolean isWidened() {
        return parameters.isMixed() && tuned.adapter().isPresent();
    }

    private DataType storedType() {
        return isRounded() ? DataType.BF16 : DataType.F32;
    }

    private TensorData weight(ParameterSpec parameter) {
        String name = parameter.name();
        return data(name, storedType(), parameter.shape(), () -> {
            if (!parameters.get(name).isTrained()) {
                return parameters.get(name).value();
            }
            return parameters.flatView(isWidened() ? parameters.master() : parameters.weights(), name);
        });
    }

    private static TensorData state(String state, ParameterBlock.Piece piece, Supplier<Tensor> slice) {
        ParameterSpec parameter = piece.place().parameter();
        StateTensor name = piece.isWhole()
                ? StateTensor.whole(state, parameter.name())
                : StateTensor.slice(state, parameter.name(), piece.first());
        long[] shape = piece.isWhole() ? parameter.shape() : new long[] {piece.elements()};
        return data(name.name(), DataType.F32, shape, () -> slice.get().narrow(0, piece.offset(), piece.elements()));
    }

    private static TensorData data(String name, DataType type, long[] shape, Supplier<Tensor> content) {
        return new TensorData(name, type, shape, out -> {
            try (TensorScope scope = TensorScope.open()) {
                TensorBytes.write(content.get().cpu(), out);
            }
        });
    }

    /**
     * Takes up what this rank owns of the states of {@code checkpoint}, written after {@code step} optimizer steps.
     *
     * @param progress is told of each part that is read
     * @throws StorageException when other parameters were trained: what this run does not train would be lost
     */
    void restore(CheckpointReader checkpoint, long step, Runnable progress) {
        requireSameTrained(checkpoint.parameters(StateTensor.EXP_AVG));
        String masterState = checkpoint.states().contains(StateTensor.MASTER) ? StateTensor.MASTER : StateTensor.MODEL;
        for (Parameters.Share share : parameters.shares()) {
            for (ParameterBlock.Piece piece :
                    share.block().pieces(parameters.sharding().rank())) {
                read(checkpoint, masterState, piece, share.master());
                try (TensorScope scope = TensorScope.open()) {
                    read(checkpoint, StateTensor.EXP_AVG, piece, inShare(optimizer.firstMoment(), share));
                    read(checkpoint, StateTensor.EXP_AVG_SQ, piece, inShare(optimizer.secondMoment(), share));
                }
                progress.run();
            }
        }
        optimizer.resumeAfter(step);
        parameters.publishMaster();
        sharing.publishWeights();
    }

    private void requireSameTrained(Set<String> before) {
        Set<String> now = names(tuned.plan().trained());
        Set<String> dropped = new TreeSet<>(before);
        dropped.removeAll(now);
        Set<String> added = new TreeSet<>(now);
        added.removeAll(before);
        if (!dropped.isEmpty() || !added.isEmpty()) {
            Set<String> differing = dropped.isEmpty() ? added : dropped;
            throw new StorageException(
                    "the checkpoint trained %d parameters and this run trains %d, which differ in %d (%s, ...); resume with the finetuning_type, layers and modules it was trained with, or set overwrite_output_dir: true to begin anew"
                            .formatted(
                                    before.size(),
                                    now.size(),
                                    dropped.size() + added.size(),
                                    differing.iterator().next()));
        }
    }

    private static void read(CheckpointReader checkpoint, String state, ParameterBlock.Piece piece, Tensor slice) {
        ParameterSpec parameter = piece.place().parameter();
        long elements = checkpoint.elements(state, parameter.name());
        if (elements != parameter.elements()) {
            throw new StorageException(
                    "the checkpoint's %s of %s has %d elements but this run's has %d; resume with the settings it was trained with, or set overwrite_output_dir: true to begin anew"
                            .formatted(state, parameter.name(), elements, parameter.elements()));
        }
        try (TensorScope scope = TensorScope.open()) {
            Tensor staging = torch.zeros(new long[] {piece.elements()}, new TensorOptions()); // float32, host memory
            TensorBytes.forEach(
                    staging,
                    (offset, buffer) -> checkpoint.readFloat32(
                            state, parameter.name(), piece.first() + offset / Float.BYTES, buffer));
            slice.narrow(0, piece.offset(), piece.elements()).copy_(staging);
        } catch (IOException e) {
            throw new UncheckedIOException("reading " + parameter.name() + ": " + e.getMessage(), e);
        }
    }
}
