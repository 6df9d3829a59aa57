package ulysses.runtime.training;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
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
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.TensorData;

/**
 * Weights and optimizer states by parameter name, on their way to a checkpoint or an export and back. Nothing depends on the number
 * of ranks, so a checkpoint continues on any.
 */
final class ModelState {

    private final ModelSpec spec;
    private final Parameters parameters;
    private final AdamW optimizer;

    /** The state of a run. */
    ModelState(ModelSpec spec, Parameters parameters, AdamW optimizer) {
        this.spec = spec;
        this.parameters = parameters;
        this.optimizer = optimizer;
    }

    /** All weights in the compute dtype. */
    List<TensorData> weights() {
        return spec.parameters().stream().map(this::weight).toList();
    }

    /** The weights that {@code rank} of {@code ranks} writes: together they write each once, in shares of about equal size. */
    List<TensorData> weights(int rank, int ranks) {
        return share(rank, ranks).stream().map(this::weight).toList();
    }

    /** Both moments, and the master weights where they differ from the weights, of the parameters in this rank's share. */
    List<TensorData> optimizerStates(int rank, int ranks) {
        List<TensorData> states = new ArrayList<>();
        for (ParameterSpec parameter : share(rank, ranks)) {
            states.add(state(StateTensor.EXP_AVG, optimizer.firstMoment(), parameter));
            states.add(state(StateTensor.EXP_AVG_SQ, optimizer.secondMoment(), parameter));
            if (parameters.isMixed()) {
                states.add(state(StateTensor.MASTER, parameters.master(), parameter));
            }
        }
        return states;
    }

    private List<ParameterSpec> share(int rank, int ranks) {
        List<ParameterSpec> share = new ArrayList<>();
        double before = 0;
        for (ParameterSpec parameter : spec.parameters()) {
            double middle = (before + parameter.elements() / 2.0) / parameters.elements();
            if ((int) (middle * ranks) == rank) {
                share.add(parameter);
            }
            before += parameter.elements();
        }
        return share;
    }

    private TensorData weight(ParameterSpec parameter) {
        DataType type = parameters.isMixed() ? DataType.BF16 : DataType.F32;
        return data(parameter.name(), type, parameters.weights(), parameter);
    }

    private TensorData state(String state, Tensor flat, ParameterSpec parameter) {
        return data(StateTensor.whole(state, parameter.name()).name(), DataType.F32, flat, parameter);
    }

    private TensorData data(String name, DataType type, Tensor flat, ParameterSpec parameter) {
        return new TensorData(name, type, parameter.shape(), out -> {
            try (TensorScope scope = TensorScope.open()) {
                TensorBytes.write(parameters.flatView(flat, parameter.name()).cpu(), out);
            }
        });
    }

    /** Takes up the states of {@code checkpoint}, written after {@code step} optimizer steps. */
    void restore(CheckpointReader checkpoint, long step) {
        String masterState = checkpoint.states().contains(StateTensor.MASTER) ? StateTensor.MASTER : StateTensor.MODEL;
        for (ParameterSpec parameter : spec.parameters()) {
            read(checkpoint, masterState, parameter, parameters.master());
            read(checkpoint, StateTensor.EXP_AVG, parameter, optimizer.firstMoment());
            read(checkpoint, StateTensor.EXP_AVG_SQ, parameter, optimizer.secondMoment());
        }
        optimizer.resumeAfter(step);
        parameters.publishMaster();
    }

    private void read(CheckpointReader checkpoint, String state, ParameterSpec parameter, Tensor flat) {
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
