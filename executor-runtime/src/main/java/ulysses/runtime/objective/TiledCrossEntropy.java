package ulysses.runtime.objective;

import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Parameter;

/**
 * Head and cross-entropy over the tokens that count, tile by tile, with both gradients made in the same pass (ALST,
 * arXiv:2506.13996, section 3): never more than one tile of logits exists, and none for a token without a label. Logits, softmax
 * and sums are float32; the total is float64.
 */
final class TiledCrossEntropy {

    /** Elements of one tile of logits: 128 MiB in float32 on CPU, 1 GiB on CUDA, whose products want more rows; chosen, not tuned. */
    private static final long TILE_ELEMENTS = 32L << 20;

    private static final long CUDA_TILE_ELEMENTS = 256L << 20;

    /** Rows of matrix products come in multiples of this. */
    private static final long ROWS = 64;

    private final Parameter head;
    private final long tileRows;

    /** For a head [V,D]. */
    TiledCrossEntropy(Parameter head) {
        this(head, tileRows(head.value()));
    }

    private static long tileRows(Tensor head) {
        long rows = (head.is_cuda() ? CUDA_TILE_ELEMENTS : TILE_ELEMENTS) / head.size(0);
        return rows < ROWS ? Math.max(16, rows) : rows - rows % ROWS;
    }

    /** With {@code tileRows} tokens a tile. */
    TiledCrossEntropy(Parameter head, long tileRows) {
        this.head = head;
        this.tileRows = tileRows;
    }

    /**
     * Sum of the cross-entropy of all {@code targets}.
     *
     * @param hidden [m,D], one row per target
     * @param targets [m] token ids, int64
     */
    double lossSum(Tensor hidden, Tensor targets) {
        double sum = 0;
        for (long first = 0; first < targets.size(0); first += tileRows) {
            try (TensorScope scope = TensorScope.open()) {
                long rows = Math.min(tileRows, targets.size(0) - first);
                Tensor target = targets.narrow(0, first, rows).unsqueeze(1); // [t,1]
                Softmax softmax = Softmax.of(logits(hidden.narrow(0, first, rows)), target);
                sum -= softmax.logProbabilities().sum(doubles()).item_double();
            }
        }
        return sum;
    }

    /**
     * Sum of the cross-entropy as in {@link #lossSum}; the gradient of {@code scale} times this sum is written to {@code dHidden}
     * [m,D] and added to the head's, unless that is frozen.
     */
    double lossSumAndGradients(Tensor hidden, Tensor targets, double scale, Tensor dHidden) {
        double sum = 0;
        for (long first = 0; first < targets.size(0); first += tileRows) {
            try (TensorScope scope = TensorScope.open()) {
                long rows = Math.min(tileRows, targets.size(0) - first);
                Tensor h = hidden.narrow(0, first, rows); // [t,D]
                Tensor target = targets.narrow(0, first, rows).unsqueeze(1); // [t,1]
                Softmax softmax = Softmax.of(logits(h), target);
                sum -= softmax.logProbabilities().sum(doubles()).item_double();
                Tensor dLogits = softmax.gap(target).mul_(new Scalar(scale)); // [t,V]
                backward(dLogits, h, dHidden.narrow(0, first, rows));
            }
        }
        return sum;
    }

    /** Log-probabilities of all {@code targets} [m], float32, in the caller's scope. */
    Tensor logProbabilities(Tensor hidden, Tensor targets) {
        try (TensorScope outer = TensorScope.open()) {
            Tensor all = torch.zeros(new long[] {targets.size(0)}, float32On(hidden)); // [m]
            for (long first = 0; first < targets.size(0); first += tileRows) {
                try (TensorScope scope = TensorScope.open()) {
                    long rows = Math.min(tileRows, targets.size(0) - first);
                    Tensor target = targets.narrow(0, first, rows).unsqueeze(1); // [t,1]
                    Softmax softmax = Softmax.of(logits(hidden.narrow(0, first, rows)), target);
                    all.narrow(0, first, rows).copy_(softmax.logProbabilities().squeeze(1));
                }
            }
            return outer.keep(all);
        }
    }

    /**
     * Backward of a weighted sum of {@link #logProbabilities}: its gradient is written to {@code dHidden} [m,D] and added to the
     * head's.
     *
     * @param weights of the log-probabilities in the loss [m], float32
     */
    void gradients(Tensor hidden, Tensor targets, Tensor weights, Tensor dHidden) {
        for (long first = 0; first < targets.size(0); first += tileRows) {
            try (TensorScope scope = TensorScope.open()) {
                long rows = Math.min(tileRows, targets.size(0) - first);
                Tensor h = hidden.narrow(0, first, rows); // [t,D]
                Tensor scale = weights.narrow(0, first, rows).unsqueeze(1).neg(); // [t,1]
                Tensor target = targets.narrow(0, first, rows).unsqueeze(1); // [t,1]
                Tensor dLogits = Softmax.of(logits(h), target).gap(target).mul_(scale); // [t,V]
                backward(dLogits, h, dHidden.narrow(0, first, rows));
            }
        }
    }

    /**
     * Softmax, made in the place of logits, so that no second tensor of their size exists.
     *
     * @param probabilities [t,V]
     * @param logProbabilities of the targets [t,1]
     */
    private record Softmax(Tensor probabilities, Tensor logProbabilities) {

        /** Of {@code logits} [t,V], which are lost, and {@code target} [t,1]. */
        static Softmax of(Tensor logits, Tensor target) {
            Tensor shifted = logits.sub_(logits.amax(new long[] {1}, true)); // at most 0
            Tensor picked = shifted.gather(1, target); // [t,1]
            Tensor exponentials = shifted.exp_();
            Tensor total = exponentials.sum(new long[] {1}, true, null); // [t,1]
            return new Softmax(exponentials.div_(total), picked.sub(total.log()));
        }

        /** The cross-entropy's gradient, in the place of the probabilities: they, minus one at the target. */
        Tensor gap(Tensor target) {
            Tensor minusOne = torch.full_like(target, new Scalar(-1.0)).to(torch.ScalarType.Float);
            return probabilities.scatter_add_(1, target, minusOne);
        }
    }

    private void backward(Tensor dLogits, Tensor hidden, Tensor dHidden) {
        Tensor narrowed = dLogits.to(hidden.scalar_type());
        dHidden.copy_(torch.mm(narrowed, head.value().detach()));
        if (head.isTrained()) {
            accumulate(dLogits, narrowed, hidden);
        }
    }

    /** Adds dLogitsᵀ h to the head's gradient. */
    private void accumulate(Tensor dLogits, Tensor narrowed, Tensor h) {
        if (h.is_cuda()) {
            head.accumulateProduct(narrowed.t(), h); // float32 products are 15 times slower there
        } else {
            head.gradient().addmm_(dLogits.t(), h.to(torch.ScalarType.Float));
        }
    }

    /** Mean over the vocabulary of the logits of each row of {@code hidden} [s,D]: [s], float32, in the caller's scope. */
    Tensor meanLogits(Tensor hidden) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor meanRow = head.value()
                    .detach()
                    .mean(new long[] {0}, false, new ScalarTypeOptional(torch.ScalarType.Float)); // [D]
            return scope.keep(hidden.to(torch.ScalarType.Float).mv(meanRow));
        }
    }

    private static TensorOptions float32On(Tensor like) {
        return new TensorOptions()
                .dtype(new ScalarTypeOptional(torch.ScalarType.Float))
                .device(new DeviceOptional(like.device()));
    }

    private Tensor logits(Tensor hidden) {
        return torch.linear(hidden, head.value().detach()).to(torch.ScalarType.Float);
    }

    private static ScalarTypeOptional doubles() {
        return new ScalarTypeOptional(torch.ScalarType.Double);
    }
}
