package ulysses.runtime.weights;

import java.util.Arrays;

/**
 * One parameter as Hugging Face names it.
 *
 * @param name such as {@code model.layers.0.self_attn.q_proj.weight}
 * @param shape lengths of its axes
 * @param decayed whether weight decay applies: not to norms and biases
 */
@SuppressWarnings("ArrayRecordComponent") // compared by content below; a shape is an array wherever libtorch is near
public record ParameterSpec(String name, long[] shape, boolean decayed) {
    public ParameterSpec {
        shape = shape.clone();
    }

    /** A copy of the lengths of its axes. */
    @Override
    public long[] shape() {
        return shape.clone();
    }

    /** Number of elements. */
    public long elements() {
        return Shapes.elements(shape);
    }

    @Override
    public boolean equals(Object other) {
        return other instanceof ParameterSpec spec
                && name.equals(spec.name)
                && Arrays.equals(shape, spec.shape)
                && decayed == spec.decayed;
    }

    @Override
    public int hashCode() {
        return name.hashCode();
    }

    @Override
    public String toString() {
        return name + Arrays.toString(shape);
    }
}
