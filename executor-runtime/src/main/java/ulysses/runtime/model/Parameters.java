package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterSpec;

/**
 * All parameters of a model, alive for the run, as views into flat buffers: weights in the compute dtype, master weights and
 * gradients in float32. First come those that decay, then norms and biases, so that the optimizer works on two stretches and a
 * reduction on one. In float32 the master weights are the weights.
 */
public final class Parameters implements AutoCloseable {

    private final Map<String, Parameter> byName = new LinkedHashMap<>();
    private final Map<String, Stretch> stretches = new LinkedHashMap<>();
    private final long decayedElements;
    private final boolean mixed;
    private final Tensor weights;
    private final Tensor master;
    private final Tensor gradients;

    /** Where a parameter lies in the flat buffers, in elements. */
    public record Stretch(long first, long elements) {}

    /** Allocates zeros for all parameters of {@code spec} on {@code device}. */
    public Parameters(ModelSpec spec, ComputeType compute, Device device) {
        try (TensorScope scope = TensorScope.open()) {
            List<ParameterSpec> order = new ArrayList<>(spec.parameters());
            order.sort((a, b) -> Boolean.compare(b.decayed(), a.decayed())); // stable: decayed first
            this.decayedElements = order.stream()
                    .filter(ParameterSpec::decayed)
                    .mapToLong(ParameterSpec::elements)
                    .sum();
            TensorOptions float32 = new TensorOptions()
                    .dtype(new ScalarTypeOptional(torch.ScalarType.Float))
                    .device(new DeviceOptional(device));
            long total = spec.parameterCount();
            this.master = TensorScope.own(torch.zeros(new long[] {total}, float32));
            this.gradients = TensorScope.own(torch.zeros(new long[] {total}, float32));
            this.mixed = compute != ComputeType.FLOAT32;
            this.weights = mixed
                    ? TensorScope.own(torch.zeros(
                            new long[] {total}, float32.dtype(new ScalarTypeOptional(torch.ScalarType.BFloat16))))
                    : master;
            long first = 0;
            for (ParameterSpec parameter : order) {
                stretches.put(parameter.name(), new Stretch(first, parameter.elements()));
                first += parameter.elements();
            }
            for (ParameterSpec parameter : spec.parameters()) {
                byName.put(parameter.name(), view(parameter));
            }
        }
    }

    private Parameter view(ParameterSpec spec) {
        Tensor value =
                flatView(weights, spec.name()).view(spec.shape()).detach().requires_grad_(true);
        Tensor gradient = flatView(gradients, spec.name()).view(spec.shape());
        return new Parameter(spec.name(), TensorScope.own(value), TensorScope.own(gradient));
    }

    /** The parameter with this Hugging Face name. */
    public Parameter get(String name) {
        return find(name).orElseThrow(() -> new IllegalArgumentException("the model has no parameter " + name));
    }

    /** The parameter with this Hugging Face name, if the model has it. */
    public Optional<Parameter> find(String name) {
        return Optional.ofNullable(byName.get(name));
    }

    /** All parameters in the order of the model. */
    public List<Parameter> all() {
        return List.copyOf(byName.values());
    }

    /** Where parameter {@code name} lies in every flat buffer. */
    public Stretch stretch(String name) {
        Stretch stretch = stretches.get(name);
        if (stretch == null) {
            throw new IllegalArgumentException("the model has no parameter " + name);
        }
        return stretch;
    }

    /** The part of {@code flat}, a buffer laid out like this model, that belongs to {@code name}; a view in the caller's scope. */
    public Tensor flatView(Tensor flat, String name) {
        Stretch stretch = stretch(name);
        return flat.narrow(0, stretch.first(), stretch.elements());
    }

    /** Where the parameters lie. */
    public Device device() {
        return master.device();
    }

    /** Weights in the compute dtype, flat: the master weights themselves where that is float32. */
    public Tensor weights() {
        return weights;
    }

    /** Whether compute uses narrower weights than the master weights. */
    public boolean isMixed() {
        return mixed;
    }

    /** All elements. */
    public long elements() {
        return master.numel();
    }

    /** The first so many elements of the flat buffers decay. */
    public long decayedElements() {
        return decayedElements;
    }

    /** Float32 master weights, flat. */
    public Tensor master() {
        return master;
    }

    /** Float32 gradients, flat: the sum over this rank's micro-batches since {@link #zeroGradients}. */
    public Tensor gradients() {
        return gradients;
    }

    /** Starts a step. */
    public void zeroGradients() {
        gradients.zero_();
    }

    /** Brings changed master weights to the weights that compute uses. */
    public void publishMaster() {
        if (mixed) {
            weights.copy_(master);
        }
    }

    @Override
    public void close() {
        for (Parameter parameter : byName.values()) {
            parameter.value().close();
            parameter.gradient().close();
        }
        byName.clear();
        gradients.close();
        if (mixed) {
            weights.close();
        }
        master.close();
    }
}
