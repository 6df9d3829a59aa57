package ulysses.runtime.collective;

import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.collective.Collectives.Pending;
import ulysses.runtime.memory.TensorScope;

/** Lives until awaited: a reduce-scatter made of an exchange of parts and a local sum. */
final class SumOfParts implements Pending {
    private final Pending exchange;
    private final Tensor out;
    private final Tensor outHandle;
    private final Tensor parts;
    private final int size;
    private boolean done;

    /** Takes over {@code parts}, which {@code exchange} fills with one part of each of {@code size} ranks. */
    SumOfParts(Pending exchange, Tensor out, Tensor parts, int size) {
        this.exchange = exchange;
        this.out = out;
        this.outHandle = TensorScope.own(new Tensor(out));
        this.parts = parts;
        this.size = size;
    }

    @Override
    public Tensor await() {
        if (done) {
            exchange.await();
            return out;
        }
        done = true;
        try (TensorScope scope = TensorScope.open()) {
            exchange.await();
            torch.sum_out(outHandle.view(-1), parts.view(size, -1), 0); // [P, part] -> [part]
        } finally {
            outHandle.close();
            parts.close();
        }
        return out;
    }

    @Override
    public void close() {
        if (!done) {
            await();
        }
    }
}
