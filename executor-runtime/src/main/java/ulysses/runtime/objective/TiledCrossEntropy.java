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
                LogitTile logits = logits(hidden.narrow(0, first, rows), target);
                sum -= logits.logProbabilities().sum(doubles()).item_double();
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
                LogitTile logits = logits(h, target);
                sum -= logits.logProbabilities().sum(doubles()).item_double();
                backward(logits.gap(), scale, h, dHidden.narrow(0, first, rows));
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
                    LogitTile logits = logits(hidden.narrow(0, first, rows), target);
                    all.narrow(0, first, rows).copy_(logits.logProbabilities().squeeze(1));
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
                backward(logits(h, target).gap().mul_(scale), 1, h, dHidden.narrow(0, first, rows));
            }
        }
    }

    /** Backward of the product with the head; the gradient of the logits is {@code scale} times {@code dLogits} [t,V]. */
    private void backward(Tensor dLogits, double scale, Tensor hidden, Tensor dHidden) {
        Tensor narrowed = dLogits.to(hidden.scalar_type());
        dHidden.copy_(torch.mm(narrowed, head.value().detach()).mul_(new Scalar(scale)));
        if (!head.isTrained()) {
            return;
        }
        if (hidden.is_cuda()) {
            head.accumulateProduct(narrowed.t(), hidden, scale); // float32 products are 15 times slower there
        } else {
            Tensor wide = hidden.to(torch.ScalarType.Float);
            head.gradient().addmm_(dLogits.t(), wide, new Scalar(1.0), new Scalar(scale));
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

    private LogitTile logits(Tensor hidden, Tensor targets) {
        return LogitTile.of(hidden, head.value().detach(), targets);
    }

    private static ScalarTypeOptional doubles() {
        return new ScalarTypeOptional(torch.ScalarType.Double);
    }
}
