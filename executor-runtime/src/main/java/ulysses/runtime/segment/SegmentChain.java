package ulysses.runtime.segment;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import ulysses.runtime.memory.TensorScope;

/** Segments one after the other: forward in order, backward in reverse, each segment's memory freed as backward leaves it. */
public final class SegmentChain implements Segment {

    private final List<Segment> segments;

    /** At least one segment, in order of forward. */
    public SegmentChain(List<Segment> segments) {
        if (segments.isEmpty()) {
            throw new IllegalArgumentException("a chain needs at least one segment");
        }
        this.segments = List.copyOf(segments);
    }

    @Override
    public Pass forward(Tensor x) {
        Deque<Pass> passes = new ArrayDeque<>();
        Tensor input = x;
        for (Segment segment : segments) {
            Pass pass = segment.forward(input);
            passes.push(pass);
            input = pass.output();
        }
        return new ChainPass(passes, input);
    }

    @Override
    public Tensor infer(Tensor x) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor hidden = new Tensor(x); // a handle of our own, free to close
            for (Segment segment : segments) {
                Tensor next = segment.infer(hidden);
                hidden.close();
                hidden = next;
            }
            return scope.keep(hidden);
        }
    }

    private record ChainPass(Deque<Pass> passes, Tensor output) implements Pass {

        @Override
        public Tensor backward(Tensor dOutput) {
            try (TensorScope scope = TensorScope.open()) {
                Tensor gradient = new Tensor(dOutput); // a handle of our own, free to close
                while (!passes.isEmpty()) {
                    try (Pass pass = passes.pop()) {
                        Tensor previous = pass.backward(gradient);
                        gradient.close();
                        gradient = previous;
                    }
                }
                return scope.keep(gradient);
            }
        }

        @Override
        public void close() {
            passes.forEach(Pass::close);
            passes.clear();
        }
    }
}
