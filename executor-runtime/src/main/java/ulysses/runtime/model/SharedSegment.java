package ulysses.runtime.model;

import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import ulysses.runtime.segment.Segment;

/**
 * A segment whose parameters are cut over ranks: weights are gathered before it runs and dropped after, those of its neighbour on the
 * way meanwhile; its gradients leave for their owners while backward goes on.
 *
 * @param part that the segment computes with
 * @param next in forward
 * @param previous next in backward
 */
record SharedSegment(Segment inner, ModelPart part, Optional<ModelPart> next, Optional<ModelPart> previous)
        implements Segment {

    @Override
    public Pass forward(Tensor x) {
        gather(next);
        try {
            return new SharedPass(inner.forward(x), this);
        } finally {
            part.drop();
        }
    }

    @Override
    public Tensor infer(Tensor x) {
        gather(next);
        try {
            return inner.infer(x);
        } finally {
            part.drop();
        }
    }

    private Tensor backward(Pass pass, Tensor dOutput) {
        gather(previous);
        try {
            part.openGradients();
            return pass.backward(dOutput);
        } finally {
            part.drop();
        }
    }

    private void gather(Optional<ModelPart> ahead) {
        part.gather();
        ahead.ifPresent(ModelPart::prefetch);
    }

    private record SharedPass(Pass inner, SharedSegment segment) implements Pass {
        @Override
        public Tensor output() {
            return inner.output();
        }

        @Override
        public List<Tensor> remembered() {
            return inner.remembered();
        }

        @Override
        public Tensor backward(Tensor dOutput) {
            Tensor dInput = segment.backward(inner, dOutput);
            segment.part.reduceGradients();
            return dInput;
        }

        @Override
        public void close() {
            inner.close();
        }
    }
}
