package ulysses.runtime.objective;

import java.util.List;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.StepBatches;
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
    public List<String> metrics() {
        return List.of();
    }

    @Override
    public long terms(StepBatches step) {
        return step.globalTrainedTokens();
    }

    @Override
    public double[] reference(MicroBatch batch) {
        return new double[0];
    }

    @Override
    public Outcome lossAndGradient(Part part, long terms) {
        CountingTokens tokens = CountingTokens.of(part.slice().targets());
        try (TensorScope scope = TensorScope.open()) {
            Tensor hidden = part.hidden(); // [s,D]
            if (tokens.isEmpty()) {
                return new Outcome(nothing(), scope.keep(torch.zeros_like(hidden)));
            }
            Tensor dCounting = torch.empty_like(hidden.narrow(0, 0, tokens.count())); // [m,D]
            double sum = crossEntropy.lossSumAndGradients(
                    tokens.rowsOf(hidden), tokens.targetsOn(hidden), 1.0 / terms, dCounting);
            return new Outcome(new Sums(sum, new double[0]), scope.keep(tokens.spread(dCounting, hidden)));
        }
    }

    @Override
    public Sums sums(Part part) {
        CountingTokens tokens = CountingTokens.of(part.slice().targets());
        if (tokens.isEmpty()) {
            return nothing();
        }
        try (TensorScope scope = TensorScope.open()) {
            Tensor hidden = part.hidden();
            double sum = crossEntropy.lossSum(tokens.rowsOf(hidden), tokens.targetsOn(hidden));
            return new Sums(sum, new double[0]);
        }
    }
}
