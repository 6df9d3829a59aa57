package ulysses.runtime.model;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.segment.Parameter;

/** y = x Wᵀ + b, with W [out,in]; the bias may be absent. An adapter, if any, adds its own product. */
record Linear(
        Parameter weight,
        @Nullable Parameter bias,
        @Nullable LowRank adapter) {

    /** [s,in] to [s,out]. */
    Tensor apply(Tensor x, AdapterDropout dropout) {
        Tensor y = bias == null
                ? torch.linear(x, weight.value())
                : torch.linear(x, weight.value(), new TensorOptional(bias.value()));
        return adapter == null ? y : adapter.addTo(y, x, dropout);
    }

    /** Backward by hand: gradient of x [s,in] from that of the output [s,out]; those of trained parameters are accumulated. */
    Tensor backward(Tensor x, Tensor dOutput, AdapterDropout dropout) {
        if (weight.isTrained()) {
            weight.accumulateProduct(dOutput.t(), x); // [out,in]
        }
        if (bias != null && bias.isTrained()) {
            bias.accumulate(dOutput.sum(0)); // [out]
        }
        Tensor dX = torch.mm(dOutput, weight.value().detach()); // [s,in]
        return adapter == null ? dX : adapter.addBackward(dX, x, dOutput, dropout);
    }

    List<Parameter> parameters() {
        List<Parameter> parameters = new ArrayList<>(List.of(weight));
        if (bias != null) {
            parameters.add(bias);
        }
        if (adapter != null) {
            parameters.addAll(List.of(adapter.a(), adapter.b()));
        }
        return parameters;
    }
}
