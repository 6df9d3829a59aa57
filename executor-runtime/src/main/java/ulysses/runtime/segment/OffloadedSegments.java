package ulysses.runtime.segment;

import java.util.ArrayDeque;
import java.util.Deque;
import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.Offload;
import ulysses.runtime.memory.TensorScope;

/**
 * Segments whose memory is away between their forward and their backward. While one segment's backward runs, what the one before it
 * remembers comes back already. Numbers are the same, bit for bit. Called from one thread; backward runs in the reverse order of
 * forward, as in a {@link SegmentChain}.
 */
public final class OffloadedSegments {

    private final Offload offload;
    private final Deque<Remembered> away = new ArrayDeque<>();

    /** {@code offload} belongs to the caller. */
    public OffloadedSegments(Offload offload) {
        this.offload = offload;
    }

    /** {@code inner} with the input and all else that its pass remembers away. */
    public Segment around(Segment inner) {
        return new Around(inner);
    }

    /** Tensors of one pass: empty while what they held is away, their handles stay. */
    private final class Remembered implements AutoCloseable {
        private final List<Tensor> tensors;
        private final Offload.Away copies;

        Remembered(List<Tensor> remembered) {
            try (TensorScope scope = TensorScope.open()) {
                this.tensors = remembered.stream()
                        .map(x -> TensorScope.own(new Tensor(x)))
                        .toList();
                this.copies = offload.send(tensors);
                tensors.forEach(x -> x.set_data(torch.empty(new long[] {0}, x.options(), null)));
            }
        }

        void comeBack() {
            try (TensorScope scope = TensorScope.open()) {
                List<Tensor> values = copies.back();
                for (int i = 0; i < tensors.size(); i++) {
                    tensors.get(i).set_data(values.get(i));
                }
                values.forEach(Tensor::close);
            }
        }

        @Override
        public void close() {
            away.remove(this);
            copies.close();
            tensors.forEach(Tensor::close);
        }
    }

    private final class Around implements Segment {
        private final Segment inner;

        Around(Segment inner) {
            this.inner = inner;
        }

        @Override
        public Tensor infer(Tensor x) {
            return inner.infer(x);
        }

        @Override
        public Pass forward(Tensor x) {
            Pass pass = inner.forward(x);
            if (!away.isEmpty()) {
                away.peek().copies.sent(); // at most one segment's memory waits for its copy
            }
            Remembered remembered = new Remembered(pass.remembered());
            away.push(remembered);
            return new AroundPass(pass, remembered);
        }
    }

    private final class AroundPass implements Segment.Pass {
        private final Segment.Pass inner;
        private final Remembered remembered;

        AroundPass(Segment.Pass inner, Remembered remembered) {
            this.inner = inner;
            this.remembered = remembered;
        }

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
            away.remove(remembered);
            remembered.comeBack();
            if (!away.isEmpty()) {
                away.peek().copies.fetch();
            }
            return inner.backward(dOutput);
        }

        @Override
        public void close() {
            remembered.close();
            inner.close();
        }
    }
}
