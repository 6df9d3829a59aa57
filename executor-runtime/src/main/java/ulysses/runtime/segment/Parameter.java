package ulysses.runtime.segment;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.AtenOperator;
import ulysses.runtime.memory.TensorScope;

/**
 * One trained tensor and the place where its gradient gathers. Both are views into flat buffers that the model's registry owns;
 * they live for the run.
 *
 * @param name Hugging Face name
 * @param value leaf in the compute dtype, a view of the flat weights
 * @param gradient same shape, float32, a view of the flat gradients: a sum over the micro-batches of the step
 */
public record Parameter(String name, Tensor value, Tensor gradient) {

    /** a + b c with b and c in bfloat16, a and the result in float32: only CUDA has it. */
    private static final AtenOperator WIDENING_ADDMM = AtenOperator.named("addmm", "dtype_out");

    /** Adds one micro-batch's gradient, of any float dtype. */
    public void accumulate(Tensor contribution) {
        gradient.add_(contribution);
    }

    /**
     * Adds the product of two matrices of the compute dtype, summed in float32 where the device can: without making the product
     * first, but for bfloat16 on CPU.
     */
    public void accumulateProduct(Tensor left, Tensor right) {
        try (TensorScope scope = TensorScope.open()) {
            if (left.scalar_type().value == gradient.scalar_type().value) { // native code makes enum objects of its own
                gradient.addmm_(left, right);
            } else if (gradient.is_cuda()) {
                long float32 = torch.ScalarType.Float.value;
                WIDENING_ADDMM.call(gradient, left, right, float32, 1L, 1L, gradient);
            } else {
                accumulate(torch.mm(left, right));
            }
        }
    }
}
