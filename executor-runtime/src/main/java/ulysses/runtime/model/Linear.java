package ulysses.runtime.model;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.segment.Parameter;

/** y = x Wᵀ + b, with W [out,in]; the bias may be absent. */
record Linear(Parameter weight, @Nullable Parameter bias) {

    /** The module {@code name} of a model, with the bias it has. */
    static Linear of(Parameters parameters, String name) {
        return new Linear(
                parameters.get(name + ".weight"),
                parameters.find(name + ".bias").orElse(null));
    }

    Tensor apply(Tensor x) {
        return bias == null
                ? torch.linear(x, weight.value())
                : torch.linear(x, weight.value(), new TensorOptional(bias.value()));
    }

    /** Backward by hand: gradient of x [s,in] from that of the output [s,out]; those of weight and bias are accumulated. */
    Tensor backward(Tensor x, Tensor dOutput) {
        weight.accumulateProduct(dOutput.t(), x); // [out,in]
        if (bias != null) {
            bias.accumulate(dOutput.sum(0)); // [out]
        }
        return torch.mm(dOutput, weight.value().detach()); // [s,in]
    }

    List<Parameter> parameters() {
        return bias == null ? List.of(weight) : List.of(weight, bias);
    }
}
