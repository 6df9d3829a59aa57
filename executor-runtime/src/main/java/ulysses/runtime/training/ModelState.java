package ulysses.runtime.training;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Supplier;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.checkpoint.CheckpointReader;
import ulysses.runtime.checkpoint.StateTensor;
import ulysses.runtime.memory.TensorBytes;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.optimizer.AdamW;
import ulysses.runtime.weights.DataType;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.TensorData;
import ulysses.runtime.weights.TunedModel;

/**
 * Weights and optimizer states by parameter name, on their way to a checkpoint or an export and back. Nothing depends on the number
 * of ranks, so a checkpoint continues on any. Where an adapter is trained, its weights alone are stored, in float32 as they are
 * trained; else those of the whole model, in the compute dtype.
 */
final class ModelState {

    private final TunedModel tuned;
    private final Parameters parameters;
    private final AdamW optimizer;

    /** The state of a run. */
    ModelState(TunedModel tuned, Parameters parameters, AdamW optimizer) {
        this.tuned = tuned;
        this.parameters = parameters;
        this.optimizer = optimizer;
    }

    /** All weights that are stored. */
    List<TensorData> weights() {
        return stored().stream().map(this::weight).toList();
    }

    private List<ParameterSpec> stored() {
        return tuned.adapter().isPresent()
                ? tuned.plan().trained()
                : tuned.spec().parameters();
    }

    /** The weights that {@code rank} of {@code ranks} writes: together they write each once, in shares of about equal size. */
    List<TensorData> weights(int rank, int ranks) {
        return share(stored(), rank, ranks).stream().map(this::weight).toList();
    }

    /** Both moments, and the master weights where they differ from the weights, of the parameters in this rank's share. */
    List<TensorData> optimizerStates(int rank, int ranks) {
        List<TensorData> states = new ArrayList<>();
        for (ParameterSpec parameter : share(tuned.plan().trained(), rank, ranks)) {
            states.add(state(StateTensor.EXP_AVG, optimizer.firstMoment(), parameter));
            states.add(state(StateTensor.EXP_AVG_SQ, optimizer.secondMoment(), parameter));
            if (isRounded()) {
                states.add(state(StateTensor.MASTER, parameters.master(), parameter));
            }
        }
        return states;
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

    private TensorData weight(ParameterSpec parameter) {
        String name = parameter.name();
        boolean narrow = isRounded();
        return data(name, narrow ? DataType.BF16 : DataType.F32, parameter, () -> {
            if (!parameters.get(name).isTrained()) {
                return parameters.get(name).value();
            }
            return parameters.flatView(narrow ? parameters.weights() : parameters.master(), name);
        });
    }

    private TensorData state(String state, Tensor flat, ParameterSpec parameter) {
        return data(
                StateTensor.whole(state, parameter.name()).name(),
                DataType.F32,
                parameter,
                () -> parameters.flatView(flat, parameter.name()));
    }

    private static TensorData data(String name, DataType type, ParameterSpec parameter, Supplier<Tensor> content) {
        return new TensorData(name, type, parameter.shape(), out -> {
            try (TensorScope scope = TensorScope.open()) {
                TensorBytes.write(content.get().cpu(), out);
            }
        });
    }

    /** Takes up the states of {@code checkpoint}, written after {@code step} optimizer steps. */
    void restore(CheckpointReader checkpoint, long step) {
        String masterState = checkpoint.states().contains(StateTensor.MASTER) ? StateTensor.MASTER : StateTensor.MODEL;
        for (ParameterSpec parameter : tuned.plan().trained()) {
            read(checkpoint, masterState, parameter, parameters.master());
            read(checkpoint, StateTensor.EXP_AVG, parameter, optimizer.firstMoment());
            read(checkpoint, StateTensor.EXP_AVG_SQ, parameter, optimizer.secondMoment());
        }
        optimizer.resumeAfter(step);
        parameters.publishMaster();
    }

    private void read(CheckpointReader checkpoint, String state, ParameterSpec parameter, Tensor flat) {
        long elements = checkpoint.elements(state, parameter.name());
        if (elements != parameter.elements()) {
            throw new StorageException(
                    "the checkpoint's %s of %s has %d elements but this run's has %d; resume with the settings it was trained with, or set resume_from_checkpoint: false"
                            .formatted(state, parameter.name(), elements, parameter.elements()));
        }
        try (TensorScope scope = TensorScope.open()) {
            Tensor staging =
                    torch.zeros(new long[] {parameter.elements()}, new TensorOptions()); // float32, host memory
            TensorBytes.forEach(
                    staging,
                    (offset, buffer) -> checkpoint.readFloat32(state, parameter.name(), offset / Float.BYTES, buffer));
            parameters.flatView(flat, parameter.name()).copy_(staging);
        } catch (IOException e) {
            throw new UncheckedIOException("reading " + parameter.name() + ": " + e.getMessage(), e);
        }
    }
}
