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
import ulysses.runtime.weights.ParameterPlan;
import ulysses.runtime.weights.ParameterSpec;

/**
 * All parameters of a model, alive for the run. Trained ones are views into flat buffers: weights in the compute dtype, master
 * weights and gradients in float32, one group of the optimizer behind the other, so that it works on a few stretches and a reduction
 * on one. In float32 the master weights are the weights. Frozen ones are tensors of their own in the compute dtype, and nothing
 * else is held for them.
 */
public final class Parameters implements AutoCloseable {

    private final Map<String, Parameter> byName = new LinkedHashMap<>();
    private final Map<String, Stretch> stretches = new LinkedHashMap<>();
    private final List<Group> groups = new ArrayList<>();
    private final boolean mixed;
    private final Tensor weights;
    private final Tensor master;
    private final Tensor gradients;

    /** Where a parameter lies in the flat buffers, in elements. */
    public record Stretch(long first, long elements) {}

    /**
     * A stretch of the flat buffers that the optimizer treats alike.
     *
     * @param rate factor on the learning rate
     * @param decayed whether weight decay applies
     */
    public record Group(Stretch stretch, double rate, boolean decayed) {}

    /** Allocates zeros for all parameters of {@code spec} on {@code device}; all are trained. */
    public Parameters(ModelSpec spec, ComputeType compute, Device device) {
        this(ParameterPlan.full(spec), compute, device);
    }

    /** Allocates zeros for all parameters of {@code plan} on {@code device}. */
    public Parameters(ParameterPlan plan, ComputeType compute, Device device) {
        try (TensorScope scope = TensorScope.open()) {
            this.mixed = compute != ComputeType.FLOAT32;
            TensorOptions float32 = options(torch.ScalarType.Float, device);
            TensorOptions narrow = mixed ? options(torch.ScalarType.BFloat16, device) : float32;
            long[] total = {plan.trainedElements()};
            this.master = TensorScope.own(torch.zeros(total, float32));
            this.gradients = TensorScope.own(torch.zeros(total, float32));
            this.weights = mixed ? TensorScope.own(torch.zeros(total, narrow)) : master;
            layOut(plan);
            for (ParameterSpec parameter : plan.frozen()) {
                Tensor value = TensorScope.own(torch.zeros(parameter.shape(), narrow));
                byName.put(parameter.name(), Parameter.frozen(parameter.name(), value));
            }
            for (ParameterSpec parameter : plan.trained()) {
                byName.put(parameter.name(), view(parameter));
            }
        }
    }

    private static TensorOptions options(torch.ScalarType type, Device device) {
        return new TensorOptions().dtype(new ScalarTypeOptional(type)).device(new DeviceOptional(device));
    }

    private void layOut(ParameterPlan plan) {
        long first = 0;
        for (ParameterPlan.Group group : plan.groups()) {
            long begin = first;
            for (ParameterSpec parameter : group.parameters()) {
                stretches.put(parameter.name(), new Stretch(first, parameter.elements()));
                first += parameter.elements();
            }
            groups.add(new Group(new Stretch(begin, first - begin), group.rate(), group.decayed()));
        }
    }

    private Parameter view(ParameterSpec spec) {
        Tensor value =
                flatView(weights, spec.name()).view(spec.shape()).detach().requires_grad_(true);
        Tensor gradient = flatView(gradients, spec.name()).view(spec.shape());
        return Parameter.trained(spec.name(), TensorScope.own(value), TensorScope.own(gradient));
    }

    /** The parameter with this name. */
    public Parameter get(String name) {
        return find(name).orElseThrow(() -> new IllegalArgumentException("the model has no parameter " + name));
    }

    /** The parameter with this name, if there is one. */
    public Optional<Parameter> find(String name) {
        return Optional.ofNullable(byName.get(name));
    }

    /** All parameters: where all are trained or none is, in the order of the model; else the frozen ones first. */
    public List<Parameter> all() {
        return List.copyOf(byName.values());
    }

    /** The parameters that are trained, in the order of the model. */
    public List<Parameter> trained() {
        return byName.values().stream().filter(Parameter::isTrained).toList();
    }

    /** Where the trained parameter {@code name} lies in every flat buffer. */
    public Stretch stretch(String name) {
        Stretch stretch = stretches.get(name);
        if (stretch == null) {
            throw new IllegalArgumentException("the model trains no parameter " + name);
        }
        return stretch;
    }

    /** The part of {@code flat}, a buffer laid out like the trained parameters, that belongs to {@code name}; a view in the caller's scope. */
    public Tensor flatView(Tensor flat, String name) {
        Stretch stretch = stretch(name);
        return flat.narrow(0, stretch.first(), stretch.elements());
    }

    /**
     * Where the weight {@code name} is written at the start of a run, flat: the float32 master of a trained parameter, the tensor
     * itself of a frozen one; a view in the caller's scope. {@link #publishMaster} follows.
     */
    public Tensor startOf(String name) {
        Parameter parameter = get(name);
        return parameter.isTrained()
                ? flatView(master, name)
                : parameter.value().view(parameter.value().numel());
    }

    /** Where the parameters lie. */
    public Device device() {
        return master.device();
    }

    /** Trained weights in the compute dtype, flat: the master weights themselves where that is float32. */
    public Tensor weights() {
        return weights;
    }

    /** Whether compute uses narrower weights than the master weights. */
    public boolean isMixed() {
        return mixed;
    }

    /** All trained elements. */
    public long elements() {
        return master.numel();
    }

    /** The stretches that the optimizer treats alike, in order; together they are the flat buffers. */
    public List<Group> groups() {
        return List.copyOf(groups);
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
            if (parameter.isTrained()) {
                parameter.gradient().close();
            }
        }
        byName.clear();
        gradients.close();
        if (mixed) {
            weights.close();
        }
        master.close();
    }
}
