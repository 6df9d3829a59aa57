package ulysses.runtime.segment;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * One trained tensor and the place where its gradient gathers. Both are views into flat buffers that the model's registry owns;
 * they live for the run.
 *
 * @param name Hugging Face name
 * @param value leaf in the compute dtype, a view of the flat weights
 * @param gradient same shape, float32, a view of the flat gradients: a sum over the micro-batches of the step
 */
public record Parameter(String name, Tensor value, Tensor gradient) {

    /** Adds one micro-batch's gradient, of any float dtype. */
    public void accumulate(Tensor contribution) {
        gradient.add_(contribution);
    }

    /** Adds the product of two matrices; in float32 without making it first. */
    public void accumulateProduct(Tensor left, Tensor right) {
        if (left.scalar_type().value == gradient.scalar_type().value) { // native code makes enum objects of its own
            gradient.addmm_(left, right);
        } else {
            accumulate(torch.mm(left, right));
        }
    }
}
