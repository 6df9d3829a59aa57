package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.config.TrainingConfig.ComputeType;
import ulysses.runtime.memory.StateHome;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterBlock;
import ulysses.runtime.weights.ParameterPlan;
import ulysses.runtime.weights.ParameterSpec;

/**
 * What this rank holds of all parameters of a model, alive for the run. Trained ones lie in flat buffers, block behind block: weights
 * in the compute dtype, master weights and gradients in float32. In float32 the master weights are the weights. Frozen ones have
 * weights only. {@link Sharding} says of which buffers this rank holds its own slices only; a parameter whose weight or gradient is
 * elsewhere shows numbers that are none until {@link ParameterSharing} has brought it here. Knows no other rank.
 */
public final class Parameters implements AutoCloseable {

    private final Sharding sharding;
    private final boolean mixed;
    private final Map<String, Parameter> byName = new LinkedHashMap<>();
    private final Map<String, Stretch> stretches = new LinkedHashMap<>();
    private final List<Share> shares = new ArrayList<>();
    private final List<FrozenShare> frozenShares = new ArrayList<>();
    private final Tensor absent;
    private final Tensor absentGradient;
    private final Tensor weights;
    private final Tensor master;
    private final Tensor gradients;

    /** Where a parameter lies in a buffer that holds all of them, in elements. */
    public record Stretch(long first, long elements) {}

    /**
     * What this rank owns of a block that is trained; views into the flat buffers.
     *
     * @param begin of the block in buffers that hold all of them, in elements
     * @param first element of all that this rank owns
     * @param weights in the compute dtype
     * @param master float32
     * @param gradients float32
     */
    public record Share(ParameterBlock block, long begin, long first, Tensor weights, Tensor master, Tensor gradients)
            implements AutoCloseable {
        @Override
        public void close() {
            weights.close();
            master.close();
            gradients.close();
        }
    }

    /** What this rank owns of a block that stays as it is, where those are cut. */
    record FrozenShare(ParameterBlock block, Tensor weights) {}

    /** Allocates zeros for all parameters of {@code spec} on {@code device}; all are trained. */
    public Parameters(ModelSpec spec, ComputeType compute, Device device) {
        this(ParameterPlan.full(spec), compute, device);
    }

    /** Allocates zeros for all parameters of {@code plan} on {@code device}. */
    public Parameters(ParameterPlan plan, ComputeType compute, Device device) {
        this(plan, compute, device, Sharding.NONE, StateHome.on(device));
    }

    /**
     * Allocates zeros on {@code device} for what this rank holds of the parameters of {@code plan}.
     *
     * @param home of master weights that are not the weights
     */
    public Parameters(ParameterPlan plan, ComputeType compute, Device device, Sharding sharding, StateHome home) {
        this.sharding = sharding;
        this.mixed = compute != ComputeType.FLOAT32;
        List<ParameterBlock> blocks = sharding.cutsStates()
                ? ParameterBlock.trained(plan, sharding.ranks())
                : List.of(ParameterBlock.whole(plan));
        long all = blocks.stream().mapToLong(ParameterBlock::elements).sum();
        long owned = blocks.stream().mapToLong(ParameterBlock::slice).sum();
        try (TensorScope scope = TensorScope.open()) {
            TensorOptions float32 = options(torch.ScalarType.Float, device);
            TensorOptions narrow = mixed ? options(torch.ScalarType.BFloat16, device) : float32;
            this.weights = zeros(sharding.cutsWeights() ? owned : all, narrow);
            this.master = mixed ? home.zeros(owned) : weights;
            this.gradients = zeros(sharding.cutsGradients() ? owned : all, float32);
            this.absent = TensorScope.own(torch.full(new long[] {1}, new Scalar(Double.NaN), narrow));
            this.absentGradient = TensorScope.own(torch.full(new long[] {1}, new Scalar(Double.NaN), float32));
            addFrozen(plan, narrow);
            addTrained(plan, blocks);
        }
    }

    private static Tensor zeros(long elements, TensorOptions options) {
        return TensorScope.own(torch.zeros(new long[] {elements}, options));
    }

    private static TensorOptions options(torch.ScalarType type, Device device) {
        return new TensorOptions().dtype(new ScalarTypeOptional(type)).device(new DeviceOptional(device));
    }

    private void addFrozen(ParameterPlan plan, TensorOptions options) {
        if (sharding.cutsWeights()) {
            for (ParameterBlock block : ParameterBlock.frozen(plan, sharding.ranks())) {
                frozenShares.add(new FrozenShare(block, zeros(block.slice(), options)));
            }
        }
        for (ParameterSpec parameter : plan.frozen()) {
            Tensor value =
                    sharding.cutsWeights() ? absent.expand(parameter.shape()) : torch.zeros(parameter.shape(), options);
            byName.put(parameter.name(), Parameter.frozen(parameter.name(), TensorScope.own(value)));
        }
    }

    private void addTrained(ParameterPlan plan, List<ParameterBlock> blocks) {
        long begin = 0;
        long first = 0;
        for (ParameterBlock block : blocks) {
            for (ParameterBlock.Place place : block.places()) {
                long elements = place.parameter().elements();
                stretches.put(place.parameter().name(), new Stretch(begin + place.first(), elements));
            }
            shares.add(share(block, begin, first));
            begin += block.elements();
            first += block.slice();
        }
        plan.trained().forEach(parameter -> byName.put(parameter.name(), trained(parameter)));
    }

    private Share share(ParameterBlock block, long begin, long first) {
        long inAll = begin + sharding.rank() * block.slice();
        Tensor own = TensorScope.own(weights.narrow(0, sharding.cutsWeights() ? first : inAll, block.slice()));
        Tensor exact = TensorScope.own(mixed ? master.narrow(0, first, block.slice()) : new Tensor(own));
        long gradientsFirst = sharding.cutsGradients() ? first : inAll;
        Tensor gradient = TensorScope.own(gradients.narrow(0, gradientsFirst, block.slice()));
        return new Share(block, begin, first, own, exact, gradient);
    }

    private Parameter trained(ParameterSpec spec) {
        long[] shape = spec.shape();
        Tensor value = sharding.cutsWeights()
                ? absent.expand(shape)
                : flatView(weights, spec.name()).view(shape);
        Tensor gradient = sharding.cutsGradients()
                ? absentGradient.expand(shape)
                : flatView(gradients, spec.name()).view(shape);
        return Parameter.trained(
                spec.name(), TensorScope.own(value.detach().requires_grad_(true)), TensorScope.own(gradient));
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

    /** All of the block of {@code share} in {@code flat}, a buffer that holds all blocks; a view in the caller's scope. */
    Tensor whole(Tensor flat, Share share) {
        return flat.narrow(0, share.begin(), share.block().elements());
    }

    /** Starts the weight {@code name} at {@code values}, flat: this rank keeps what it holds of them. */
    public void start(String name, Tensor values) {
        Parameter parameter = get(name);
        try (TensorScope scope = TensorScope.open()) {
            if (!sharding.cutsWeights()) {
                Tensor value = parameter.value().detach();
                value.view(value.numel()).copy_(values);
            }
            for (Share share : shares) {
                keep(share.block(), share.master(), name, values);
                if (sharding.cutsWeights()) {
                    keep(share.block(), share.weights(), name, values);
                }
            }
            for (FrozenShare share : frozenShares) {
                keep(share.block(), share.weights(), name, values);
            }
        }
    }

    private void keep(ParameterBlock block, Tensor slice, String name, Tensor values) {
        for (ParameterBlock.Piece piece : block.pieces(sharding.rank())) {
            if (piece.place().parameter().name().equals(name)) {
                slice.narrow(0, piece.offset(), piece.elements())
                        .copy_(values.narrow(0, piece.first(), piece.elements()));
            }
        }
    }

    /** Of what this rank holds slices only. */
    public Sharding sharding() {
        return sharding;
    }

    /** What this rank owns of what is trained: blocks in the order of the model, or all as one. */
    public List<Share> shares() {
        return List.copyOf(shares);
    }

    List<FrozenShare> frozenShares() {
        return List.copyOf(frozenShares);
    }

    /** Shows that the weight {@code parameter} is elsewhere. */
    void showNoWeight(Parameter parameter) {
        show(parameter.value(), absent);
    }

    /** Shows that the gradient of {@code parameter} is elsewhere. */
    void showNoGradient(Parameter parameter) {
        show(parameter.gradient(), absentGradient);
    }

    private static void show(Tensor tensor, Tensor nothing) {
        try (TensorScope scope = TensorScope.open()) {
            tensor.set_data(nothing.expand_as(tensor).detach());
        }
    }

    /** Where the parameters lie. */
    public Device device() {
        return gradients.device();
    }

    /**
     * Trained weights in the compute dtype, flat: the master weights themselves where that is float32. Where weights are cut, what this
     * rank owns of them.
     */
    public Tensor weights() {
        return weights;
    }

    /** Whether compute uses narrower weights than the master weights. */
    public boolean isMixed() {
        return mixed;
    }

    /** All trained elements. */
    public long elements() {
        return stretches.values().stream().mapToLong(Stretch::elements).sum();
    }

    /** Elements whose optimizer states this rank owns. */
    public long ownedElements() {
        return shares.stream().mapToLong(share -> share.block().slice()).sum();
    }

    /** Float32 master weights, flat; throws {@link IllegalStateException} where this rank does not hold all of them. */
    public Tensor master() {
        if (sharding.cutsStates()) {
            throw new IllegalStateException("master weights are cut over ranks; use shares()");
        }
        return master;
    }

    /**
     * Float32 gradients, flat: the sum over this rank's micro-batches since {@link #zeroGradients}; where gradients are cut, what this
     * rank owns of the sum over all ranks.
     */
    public Tensor gradients() {
        return gradients;
    }

    /** Starts a step. */
    public void zeroGradients() {
        gradients.zero_();
    }

    /** Brings changed master weights to the weights that compute uses, of what this rank owns. */
    public void publishMaster() {
        if (mixed) {
            shares.forEach(Parameters::publish);
        }
    }

    /** Piece by piece: between devices libtorch rounds on the side that it copies from, in memory of its own. */
    private static void publish(Share share) {
        long all = share.weights().numel();
        for (long first = 0; first < all; first += StateHome.PIECE_ELEMENTS) {
            try (TensorScope scope = TensorScope.open()) {
                long elements = Math.min(StateHome.PIECE_ELEMENTS, all - first);
                share.weights().narrow(0, first, elements).copy_(share.master().narrow(0, first, elements));
            }
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
        shares.forEach(Share::close);
        shares.clear();
        frozenShares.forEach(share -> share.weights().close());
        frozenShares.clear();
        absent.close();
        absentGradient.close();
        gradients.close();
        if (mixed) {
            weights.close();
        }
        master.close();
    }
}
