package ulysses.runtime.model;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.segment.Parameter;

/**
 * The product that an adapter adds to a linear module: scaling * B A drop(x), with A [r,in] and B [out,r] (Hu and others,
 * arXiv:2106.09685).
 *
 * @param module its full name: dropout is drawn by it
 */
record LowRank(String module, Parameter a, Parameter b, double scaling) {

    /** Adds the product to {@code y} [s,out], in place. */
    Tensor addTo(Tensor y, Tensor x, AdapterDropout dropout) {
        Tensor inner = torch.linear(dropout.apply(x, module), a.value()); // [s,r]
        return y.addmm_(inner.mul(new Scalar(scaling)), b.value().t());
    }

    /** Backward by hand: adds to the gradient {@code dX} of x [s,in], in place; those of A and B are accumulated. */
    Tensor addBackward(Tensor dX, Tensor x, Tensor dOutput, AdapterDropout dropout) {
        Tensor dropped = dropout.apply(x, module); // [s,in]
        Tensor inner = torch.linear(dropped, a.value().detach()).mul_(new Scalar(scaling)); // [s,r]
        b.accumulateProduct(dOutput.t(), inner); // [out,r]
        Tensor dInner = torch.mm(dOutput, b.value().detach()).mul_(new Scalar(scaling)); // [s,r]
        a.accumulateProduct(dInner.t(), dropped); // [r,in]
        return dX.add_(dropout.apply(torch.mm(dInner, a.value().detach()), module)); // dropout is its own transpose
    }
}
