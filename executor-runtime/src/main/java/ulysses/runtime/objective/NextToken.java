package ulysses.runtime.objective;

import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Parameter;

/**
 * Cross-entropy of the next token, for pretraining and supervised fine-tuning alike: they differ only in labels. A rank whose part
 * has no label that counts contributes exactly zero.
 */
public final class NextToken implements Objective {

    private final TiledCrossEntropy crossEntropy;

    /** With the model's head [V,D]. */
    public NextToken(Parameter head) {
        this.crossEntropy = new TiledCrossEntropy(head);
    }

    @Override
    public Outcome lossAndGradient(Tensor hidden, int[] targets, long trainedTokens) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor dHidden = torch.zeros_like(hidden); // [s,D]
            int[] counting = counting(targets);
            if (counting.length == 0) {
                return new Outcome(0, scope.keep(dHidden));
            }
            Tensor rows = on(hidden, counting); // [m]
            Tensor dCounting = torch.empty_like(hidden.narrow(0, 0, counting.length)); // [m,D]
            double sum = crossEntropy.lossSumAndGradients(
                    hidden.index_select(0, rows),
                    on(hidden, picked(targets, counting)),
                    1.0 / trainedTokens,
                    dCounting);
            dHidden.index_copy_(0, rows, dCounting);
            return new Outcome(sum, scope.keep(dHidden));
        }
    }

    @Override
    public double lossSum(Tensor hidden, int[] targets) {
        int[] counting = counting(targets);
        if (counting.length == 0) {
            return 0;
        }
        try (TensorScope scope = TensorScope.open()) {
            return crossEntropy.lossSum(
                    hidden.index_select(0, on(hidden, counting)), on(hidden, picked(targets, counting)));
        }
    }

    private static int[] counting(int[] targets) {
        return IntStream.range(0, targets.length)
                .filter(t -> targets[t] != PackedRow.IGNORE_INDEX)
                .toArray();
    }

    private static int[] picked(int[] targets, int[] rows) {
        return IntStream.of(rows).map(t -> targets[t]).toArray();
    }

    private static Tensor on(Tensor like, int[] values) {
        return torch.tensor(values).to(like.device(), torch.ScalarType.Long);
    }
}
