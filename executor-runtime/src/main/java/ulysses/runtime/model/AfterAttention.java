package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Parameter;

/**
 * The part of a layer behind attention, for one tile of tokens: output projection, residual, norm, MLP, residual. Backward is
 * written beside it; the down projection is never run again for it. Called without autograd.
 */
record AfterAttention(Linear outputs, RmsNorm norm, GatedMlp mlp) {

    /**
     * What lies between attention and the down projection.
     *
     * @param residual the residual stream behind attention [t,D]
     * @param mlp inside the MLP [t,F]
     */
    record Inner(Tensor residual, GatedMlp.Inner mlp) implements AutoCloseable {

        /** The same for longer than the innermost scope, until closed. */
        Inner owned() {
            return new Inner(
                    TensorScope.own(residual),
                    new GatedMlp.Inner(TensorScope.own(mlp.gate()), TensorScope.own(mlp.up())));
        }

        Stream<Tensor> tensors() {
            return Stream.of(residual, mlp.gate(), mlp.up());
        }

        @Override
        public void close() {
            tensors().forEach(Tensor::close);
        }
    }

    /** Gradients of the layer's input as far as it comes here, [t,D], and of attention's output, [t,N*H]. */
    record Gradients(Tensor x, Tensor attended) {}

    /** From the layer's input {@code x} [t,D] and attention's output [t,N*H]. */
    Inner inner(Tensor x, Tensor attended, AdapterDropout dropout) {
        Tensor residual = outputs.apply(attended, dropout).add_(x); // [t,D]
        return new Inner(residual, mlp.inner(norm.apply(residual), dropout));
    }

    /** The layer's output [t,D]. */
    Tensor output(Inner inner, AdapterDropout dropout) {
        return mlp.output(inner.mlp(), dropout).add_(inner.residual());
    }

    /** From the gradient of the layer's output; those of trained parameters are accumulated. */
    Gradients backward(Tensor attended, Inner inner, Tensor dOutput, AdapterDropout dropout) {
        Tensor residual = inner.residual(); // [t,D]
        Tensor dNormed = mlp.backward(norm.apply(residual), inner.mlp(), dOutput, dropout); // [t,D]
        Tensor dResidual = norm.backward(residual, dNormed).add_(dOutput); // [t,D]
        return new Gradients(dResidual, outputs.backward(attended, dResidual, dropout));
    }

    List<Parameter> parameters() {
        List<Parameter> parameters = new ArrayList<>(outputs.parameters());
        parameters.add(norm.weight());
        parameters.addAll(mlp.parameters());
        return parameters;
    }
}
