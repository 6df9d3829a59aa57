package ulysses.runtime.segment;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.memory.AtenOperator;
import ulysses.runtime.memory.TensorScope;

/**
 * One tensor of a model and, where it is trained, the place where its gradient gathers. Both belong to the model's registry and
 * live for the run; those of a trained parameter are views into flat buffers.
 */
public final class Parameter {

    /** a + b c with b and c in bfloat16, a and the result in float32: only CUDA has it. */
    private static final AtenOperator WIDENING_ADDMM = AtenOperator.named("addmm", "dtype_out");

    private final String name;
    private final Tensor value;
    private final @Nullable Tensor gradient;

    private Parameter(String name, Tensor value, @Nullable Tensor gradient) {
        this.name = name;
        this.value = value;
        this.gradient = gradient;
    }

    /**
     * A parameter that is trained.
     *
     * @param name as in the files of the model or adapter
     * @param value leaf in the compute dtype, with autograd
     * @param gradient same shape, float32: a sum over the micro-batches of the step
     */
    public static Parameter trained(String name, Tensor value, Tensor gradient) {
        return new Parameter(name, value, gradient);
    }

    /** A parameter that stays as it is: {@code value} in the compute dtype, without autograd. */
    public static Parameter frozen(String name, Tensor value) {
        return new Parameter(name, value, null);
    }

    /** Its name in the files of the model or adapter. */
    public String name() {
        return name;
    }

    /** The tensor in the compute dtype. */
    public Tensor value() {
        return value;
    }

    /** Whether it has a gradient. */
    public boolean isTrained() {
        return gradient != null;
    }

    /** Its gradient; throws {@link IllegalStateException} for a frozen one. */
    public Tensor gradient() {
        if (gradient == null) {
            throw new IllegalStateException(name + " is frozen and has no gradient");
        }
        return gradient;
    }

    /** Adds one micro-batch's gradient, of any float dtype; nothing for a frozen parameter may come here. */
    public void accumulate(Tensor contribution) {
        gradient().add_(contribution);
    }

    /**
     * Adds the product of two matrices of the compute dtype, summed in float32 where the device can: without making the product
     * first, but for bfloat16 on CPU.
     */
    public void accumulateProduct(Tensor left, Tensor right) {
        accumulateProduct(left, right, 1);
    }

    /** The same with the product {@code scale} times. */
    public void accumulateProduct(Tensor left, Tensor right, double scale) {
        Tensor sum = gradient();
        try (TensorScope scope = TensorScope.open()) {
            if (left.scalar_type().value == sum.scalar_type().value) { // native code makes enum objects of its own
                sum.addmm_(left, right, new Scalar(1.0), new Scalar(scale));
            } else if (sum.is_cuda()) {
                long float32 = torch.ScalarType.Float.value;
                WIDENING_ADDMM.call(sum, left, right, float32, 1L, scale, sum);
            } else {
                accumulate(torch.mm(left, right).mul_(new Scalar(scale)));
            }
        }
    }
}
