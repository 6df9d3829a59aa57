package ulysses.runtime.segment;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorScope;

/** Fixture: the plain way to a gradient, one graph over everything. */
public final class Autograd {
    private Autograd() {}

    /** Math from leaves to one tensor. */
    @FunctionalInterface
    public interface Function {
        Tensor apply(List<Tensor> leaves);
    }

    /** A result with its gradients, in the caller's scope. */
    public record Result(Tensor output, List<Tensor> gradients) {}

    /** {@code function} of {@code inputs}, and the gradients of all inputs from {@code dOutput}. */
    public static Result of(Function function, List<Tensor> inputs, Tensor dOutput) {
        try (TensorScope scope = TensorScope.open();
                AutoGradMode on = new AutoGradMode(true)) {
            List<Tensor> leaves = new ArrayList<>();
            inputs.forEach(input -> leaves.add(input.detach().requires_grad_(true)));
            Tensor output = function.apply(leaves);
            TensorVector found = torch.grad(
                    new TensorVector(output),
                    new TensorVector(leaves.toArray(Tensor[]::new)),
                    new TensorVector(dOutput),
                    new BoolOptional(),
                    false,
                    false);
            List<Tensor> gradients = new ArrayList<>();
            for (int i = 0; i < leaves.size(); i++) {
                gradients.add(scope.keep(new Tensor(found.get(i))));
            }
            return new Result(scope.keep(output.detach()), gradients);
        }
    }
}
