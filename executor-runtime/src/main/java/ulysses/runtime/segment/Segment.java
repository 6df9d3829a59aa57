package ulysses.runtime.segment;

import java.util.List;
import org.bytedeco.pytorch.Tensor;

/**
 * A piece of the step whose backward is written next to its forward: libtorch offers Java no way to define an autograd function,
 * so everything that crosses ranks or saves memory is a segment (numerics.md, section 2). Only plain tensors travel between segments.
 */
public interface Segment {

    /** Runs forward on {@code x} and remembers what backward needs. {@code x} must live until the pass is closed. */
    Pass forward(Tensor x);

    /** Runs forward only; the result belongs to the caller's scope. */
    Tensor infer(Tensor x);

    /**
     * One forward that waits for its backward. The output lives until {@link #close()}, so that the next segment can use it as its
     * input in between.
     */
    interface Pass extends AutoCloseable {

        /** What forward gave. */
        Tensor output();

        /** Tensors that backward reads, the input among them; none of them is read before. */
        List<Tensor> remembered();

        /**
         * Gradient of the input from {@code dOutput}; gradients of parameters are accumulated on the way. The result belongs to the
         * caller's scope. Called at most once.
         */
        Tensor backward(Tensor dOutput);

        /** Frees the output and everything remembered. */
        @Override
        void close();
    }
}
