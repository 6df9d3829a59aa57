package ulysses.runtime.segment;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorScope;

/**
 * Local math with libtorch's autograd inside: forward without a graph, or recorded so that it can be walked back. Activation
 * checkpointing is to call {@link #forward} first and {@link #record} on the same inputs later, when backward comes. All math must
 * be deterministic, so that both give the same numbers.
 */
public final class LocalSegment {

    /** The math: tensors in, tensors out; called with autograd on or off. */
    @FunctionalInterface
    public interface LocalMath {
        /** Computes the outputs; intermediate tensors belong to the innermost scope. */
        Tensor[] apply(Tensor... inputs);
    }

    private final LocalMath math;
    private final List<Parameter> parameters;

    /** {@code math} over {@code parameters}, all of those it uses; backward computes gradients of the trained ones only. */
    public LocalSegment(List<Parameter> parameters, LocalMath math) {
        this.math = math;
        this.parameters = parameters.stream().filter(Parameter::isTrained).toList();
    }

    /** Outputs without a graph; they belong to the caller's scope. */
    public Tensor[] forward(Tensor... inputs) {
        try (TensorScope scope = TensorScope.open();
                AutoGradMode off = new AutoGradMode(false)) {
            Tensor[] outputs = math.apply(inputs);
            for (Tensor output : outputs) {
                scope.keep(output);
            }
            return outputs;
        }
    }

    /** Runs forward with a graph that waits for {@link Graph#backward}. */
    public Graph record(Tensor... inputs) {
        try (TensorScope scope = TensorScope.open();
                AutoGradMode on = new AutoGradMode(true)) {
            Tensor[] leaves = new Tensor[inputs.length];
            for (int i = 0; i < inputs.length; i++) {
                leaves[i] = inputs[i].detach().requires_grad_(true);
            }
            Tensor[] outputs = math.apply(leaves);
            return new Graph(owned(leaves), owned(outputs));
        }
    }

    private static List<Tensor> owned(Tensor[] tensors) {
        List<Tensor> owned = new ArrayList<>();
        for (Tensor tensor : tensors) {
            owned.add(TensorScope.own(tensor));
        }
        return owned;
    }

    /** A recorded forward; holds its graph until closed. */
    public final class Graph implements AutoCloseable {

        private final List<Tensor> leaves;
        private final List<Tensor> outputs;

        private Graph(List<Tensor> leaves, List<Tensor> outputs) {
            this.leaves = leaves;
            this.outputs = outputs;
        }

        /** Output {@code i}, cut off from the graph; belongs to the caller's scope. */
        public Tensor output(int i) {
            return outputs.get(i).detach();
        }

        /**
         * Gradients of the inputs from gradients of all outputs; those of trained parameters are accumulated. The results belong to the
         * caller's scope.
         */
        public Tensor[] backward(Tensor... dOutputs) {
            try (TensorScope scope = TensorScope.open()) {
                TensorVector sources = new TensorVector(leaves.toArray(Tensor[]::new));
                for (Parameter parameter : parameters) {
                    sources.push_back(parameter.value());
                }
                TensorVector gradients = torch.grad(
                        new TensorVector(outputs.toArray(Tensor[]::new)),
                        sources,
                        new TensorVector(dOutputs),
                        new BoolOptional(),
                        false,
                        false);
                for (int i = 0; i < parameters.size(); i++) {
                    parameters.get(i).accumulate(gradients.get(leaves.size() + i));
                }
                Tensor[] dInputs = new Tensor[leaves.size()];
                for (int i = 0; i < dInputs.length; i++) {
                    dInputs[i] = scope.keep(new Tensor(gradients.get(i)));
                }
                return dInputs;
            }
        }

        @Override
        public void close() {
            outputs.forEach(Tensor::close);
            leaves.forEach(Tensor::close);
        }
    }
}
