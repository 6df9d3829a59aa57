package ulysses.runtime.objective;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
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
                Tensor logits = logits(hidden.narrow(0, first, rows)); // [t,V]
                sum += logProbabilityGap(logits, targets.narrow(0, first, rows));
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
                Tensor logits = logits(h); // [t,V]
                Tensor logSumExp = logits.logsumexp(new long[] {1}, true); // [t,1]
                sum += logSumExp.sub(logits.gather(1, target)).sum(doubles()).item_double();
                Tensor dLogits = logits.sub_(logSumExp).exp_(); // softmax [t,V]
                dLogits.scatter_add_(
                        1, target, torch.full_like(target, new Scalar(-1.0)).to(torch.ScalarType.Float));
                dLogits.mul_(new Scalar(scale));
                Tensor narrowed = dLogits.to(h.scalar_type());
                dHidden.narrow(0, first, rows)
                        .copy_(torch.mm(narrowed, head.value().detach()));
                if (head.isTrained()) {
                    accumulate(dLogits, narrowed, h);
                }
            }
        }
        return sum;
    }

    /** Adds dLogitsᵀ h to the head's gradient. */
    private void accumulate(Tensor dLogits, Tensor narrowed, Tensor h) {
        if (h.is_cuda()) {
            head.accumulateProduct(narrowed.t(), h); // float32 products are 15 times slower there
        } else {
            head.gradient().addmm_(dLogits.t(), h.to(torch.ScalarType.Float));
        }
    }

    private Tensor logits(Tensor hidden) {
        return torch.linear(hidden, head.value().detach()).to(torch.ScalarType.Float);
    }

    private static double logProbabilityGap(Tensor logits, Tensor targets) {
        Tensor logSumExp = logits.logsumexp(1); // [t]
        Tensor picked = logits.gather(1, targets.unsqueeze(1)).squeeze(1); // [t]
        return logSumExp.sub(picked).sum(doubles()).item_double();
    }

    private static ScalarTypeOptional doubles() {
        return new ScalarTypeOptional(torch.ScalarType.Double);
    }
}
