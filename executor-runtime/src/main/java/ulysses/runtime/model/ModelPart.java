package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.collective.Collectives.Pending;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.weights.ParameterBlock;

/**
 * A part of a model whose weights or gradients are cut over ranks, as a step goes through it: weights are here between {@link #gather}
 * and {@link #drop}, gradients between {@link #openGradients} and {@link #reduceGradients}. Lives for the run. Collective.
 */
final class ModelPart implements AutoCloseable {

    private final ParameterSharing sharing;
    private final Parameters parameters;
    private final List<Weights> weights = new ArrayList<>();
    private Parameters.@Nullable Share trained;
    private @Nullable Tensor gradients;

    /** A part without parameters yet. */
    ModelPart(ParameterSharing sharing) {
        this.sharing = sharing;
        this.parameters = sharing.parameters();
    }

    /** Adds what is trained of it. */
    void train(Parameters.Share share) {
        trained = share;
        if (parameters.sharding().cutsWeights()) {
            weights.add(new Weights(share.block(), share.weights()));
        }
    }

    /** Adds what stays as it is. */
    void freeze(Parameters.FrozenShare share) {
        weights.add(new Weights(share.block(), share.weights()));
    }

    /** Starts to bring the weights here, for a {@link #gather} to come. */
    void prefetch() {
        weights.forEach(Weights::begin);
    }

    /** Brings the weights here. */
    void gather() {
        prefetch();
        weights.forEach(Weights::show);
    }

    /** Frees weights that were brought. */
    void drop() {
        weights.forEach(Weights::close);
    }

    /** Makes room for gradients, zero; a second call before they are reduced changes nothing. */
    void openGradients() {
        if (trained == null || gradients != null) {
            return;
        }
        try (TensorScope scope = TensorScope.open()) {
            Tensor whole = trained.gradients().new_zeros(trained.block().elements());
            gradients = TensorScope.own(whole);
            for (ParameterBlock.Place place : trained.block().places()) {
                parameter(place).gradient().set_data(view(whole, place));
            }
        }
    }

    /** Sends the gradients to their owners, who add them to those of earlier micro-batches; does not wait. */
    void reduceGradients() {
        if (trained == null || gradients == null) {
            return;
        }
        trained.block().places().forEach(place -> parameters.showNoGradient(parameter(place)));
        Tensor whole = gradients;
        gradients = null;
        sharing.beginReduction(trained, whole);
    }

    private Parameter parameter(ParameterBlock.Place place) {
        return parameters.get(place.parameter().name());
    }

    private static Tensor view(Tensor whole, ParameterBlock.Place place) {
        return whole.narrow(0, place.first(), place.parameter().elements())
                .view(place.parameter().shape());
    }

    @Override
    public void close() {
        drop();
        if (gradients != null) {
            gradients.close();
            gradients = null;
        }
    }

    /** The weights of a block that is cut. */
    private final class Weights {
        private final ParameterBlock block;
        private final Tensor slice;
        private @Nullable Tensor whole;
        private @Nullable Pending pending;

        Weights(ParameterBlock block, Tensor slice) {
            this.block = block;
            this.slice = slice;
        }

        void begin() {
            if (whole == null) {
                try (TensorScope scope = TensorScope.open()) {
                    Tensor all = TensorScope.own(slice.new_empty(block.elements()));
                    whole = all;
                    pending = sharing.world().allGather(all, slice);
                }
            }
        }

        void show() {
            if (pending == null || whole == null) {
                throw new IllegalStateException("the weights of " + block.part() + " are here already");
            }
            try (TensorScope scope = TensorScope.open()) {
                pending.await();
                pending = null;
                for (ParameterBlock.Place place : block.places()) {
                    parameter(place).value().set_data(view(whole, place));
                }
            }
        }

        void close() {
            if (pending != null) {
                pending.close();
                pending = null;
            }
            if (whole != null) {
                block.places().forEach(place -> parameters.showNoWeight(parameter(place)));
                whole.close();
                whole = null;
            }
        }
    }
}
