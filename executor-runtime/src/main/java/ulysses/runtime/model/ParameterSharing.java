package ulysses.runtime.model;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.function.BiConsumer;
import java.util.function.Predicate;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.Collectives.Pending;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.weights.ParameterBlock;
import ulysses.runtime.weights.ParameterSpec;

/**
 * How the ranks of a run bring each other what {@link Sharding} leaves them without: weights before they are used, gradients to the
 * rank that owns them, new weights after a step. Lives for the run and holds what is in flight. Collective: all ranks go through the
 * same parts in the same order.
 */
public final class ParameterSharing implements AutoCloseable {

    /** Which of the weights. */
    public enum Kind {
        /** Float32, as they are trained. */
        MASTER,
        /** In the dtype that compute uses. */
        COMPUTE
    }

    private final Parameters parameters;
    private final Collectives world;
    private final Map<String, ModelPart> parts = new LinkedHashMap<>();
    private @Nullable Reduction reducing;

    /** A sum over all ranks on its way to {@code share}. */
    private record Reduction(Pending pending, Tensor sum, Tensor whole, Parameters.Share share) {
        void finish() {
            try (sum;
                    whole;
                    pending) {
                pending.await();
                share.gradients().add_(sum);
            }
        }
    }

    /** Of {@code parameters}, over all ranks. */
    public ParameterSharing(Parameters parameters, Collectives world) {
        this.parameters = parameters;
        this.world = world;
        if (parameters.sharding().cutsGradients()) {
            parameters.shares().forEach(share -> part(share.block()).train(share));
            parameters.frozenShares().forEach(share -> part(share.block()).freeze(share));
        }
    }

    private ModelPart part(ParameterBlock block) {
        return parts.computeIfAbsent(block.part(), name -> new ModelPart(this));
    }

    /** The parameters. */
    public Parameters parameters() {
        return parameters;
    }

    /** All ranks. */
    public Collectives world() {
        return world;
    }

    /** What a step does with a part of the model by its name, such as {@code model.layers.0}; empty where nothing is to be done. */
    Optional<ModelPart> part(String name) {
        return Optional.ofNullable(parts.get(name));
    }

    /** Sends the gradients of a block, {@code whole}, to their owners; takes {@code whole} over. One such sum is in flight at a time. */
    void beginReduction(Parameters.Share share, Tensor whole) {
        finishReduction();
        try (TensorScope scope = TensorScope.open()) {
            Tensor sum = TensorScope.own(whole.new_empty(share.block().slice()));
            reducing = new Reduction(world.reduceScatterSum(sum, whole), sum, whole, share);
        }
    }

    private void finishReduction() {
        if (reducing != null) {
            Reduction last = reducing;
            reducing = null;
            last.finish();
        }
    }

    /** Ends a step's backward: each rank then has the sum over all ranks of the gradients that it owns. */
    public void reduceGradients() {
        if (parameters.sharding().cutsGradients()) {
            finishReduction();
            return;
        }
        for (Parameters.Share share : parameters.shares()) {
            try (TensorScope scope = TensorScope.open()) {
                world.reduceScatterSum(share.gradients(), parameters.whole(parameters.gradients(), share))
                        .await();
            }
        }
    }

    /** Ends a step: weights that are held whole become what their owners have made of them. */
    public void publishWeights() {
        if (!parameters.sharding().cutsStates() || parameters.sharding().cutsWeights()) {
            return;
        }
        for (Parameters.Share share : parameters.shares()) {
            try (TensorScope scope = TensorScope.open()) {
                world.allGather(parameters.whole(parameters.weights(), share), share.weights())
                        .await();
            }
        }
    }

    /**
     * Gathers what is cut, block by block, and shows it: master weights, or weights as compute uses them.
     *
     * @param wanted blocks to gather, the same on all ranks
     * @param each gets a parameter and all its values, flat, alive during the call
     */
    public void forEachCut(Kind kind, Predicate<ParameterBlock> wanted, BiConsumer<ParameterSpec, Tensor> each) {
        for (Parameters.Share share : parameters.shares()) {
            gather(share.block(), kind == Kind.MASTER ? share.master() : share.weights(), wanted, each);
        }
        for (Parameters.FrozenShare share : parameters.frozenShares()) {
            gather(share.block(), share.weights(), wanted, each);
        }
    }

    private void gather(
            ParameterBlock block,
            Tensor slice,
            Predicate<ParameterBlock> wanted,
            BiConsumer<ParameterSpec, Tensor> each) {
        if (!wanted.test(block)) {
            return;
        }
        try (TensorScope scope = TensorScope.open()) {
            Tensor here = slice.to(parameters.device(), slice.scalar_type());
            Tensor whole = here.new_empty(block.elements());
            world.allGather(whole, here).await();
            for (ParameterBlock.Place place : block.places()) {
                long elements = place.parameter().elements();
                each.accept(place.parameter(), whole.narrow(0, place.first(), elements));
            }
        }
    }

    /** Sums {@code values} over all ranks, in float64. */
    public double[] sum(double... values) {
        try (Device device = parameters.device()) {
            return world.sum(values, device);
        }
    }

    @Override
    public void close() {
        finishReduction();
        parts.values().forEach(ModelPart::close);
    }
}
