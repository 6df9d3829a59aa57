package ulysses.runtime.segment;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import ulysses.runtime.memory.TensorScope;

/**
 * Segments one after the other: forward in order, backward in reverse, each segment's memory freed as backward leaves it. A chain
 * may begin with frozen segments, below which nothing is trained: they remember nothing and backward stops before them.
 */
public final class SegmentChain implements Segment {

    private final List<Segment> frozen;
    private final List<Segment> segments;

    /** At least one segment, in order of forward. */
    public SegmentChain(List<Segment> segments) {
        this(List.of(), segments);
    }

    /**
     * A chain that begins with {@code frozen} segments. With any of them backward gives the gradient of what the last of them gave,
     * not that of the chain's input.
     */
    public SegmentChain(List<Segment> frozen, List<Segment> segments) {
        if (segments.isEmpty()) {
            throw new IllegalArgumentException("a chain needs at least one segment");
        }
        this.frozen = List.copyOf(frozen);
        this.segments = List.copyOf(segments);
    }

    @Override
    public Pass forward(Tensor x) {
        Deque<Pass> passes = new ArrayDeque<>();
        Tensor input = frozen.isEmpty() ? x : TensorScope.own(infer(frozen, x));
        Optional<Tensor> start = frozen.isEmpty() ? Optional.empty() : Optional.of(input);
        for (Segment segment : segments) {
            Pass pass = segment.forward(input);
            passes.push(pass);
            input = pass.output();
        }
        return new ChainPass(passes, input, start);
    }

    @Override
    public Tensor infer(Tensor x) {
        try (TensorScope scope = TensorScope.open()) {
            return scope.keep(infer(segments, infer(frozen, x)));
        }
    }

    private static Tensor infer(List<Segment> segments, Tensor x) {
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

    /** {@code start}: what the frozen segments gave, which the passes need until they are closed. */
    private record ChainPass(Deque<Pass> passes, Tensor output, Optional<Tensor> start) implements Pass {

        @Override
        public List<Tensor> remembered() {
            return passes.stream().flatMap(pass -> pass.remembered().stream()).toList();
        }

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
            start.ifPresent(Tensor::close);
        }
    }
}
