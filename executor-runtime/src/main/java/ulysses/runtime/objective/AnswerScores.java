package ulysses.runtime.objective;

import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Parameter;

/**
 * Sums over whole documents of a sequence that is split over ranks: each rank sums its tokens, and the group adds up, before anything
 * is divided or put into a loss (numerics.md, rule 9). Sums are float64.
 */
final class AnswerScores {
    private final TiledCrossEntropy crossEntropy;
    private final Collectives group;

    /** For a model's head [V,D]; {@code group} shares its sequences. */
    AnswerScores(Parameter head, Collectives group) {
        this(new TiledCrossEntropy(head), group);
    }

    AnswerScores(TiledCrossEntropy crossEntropy, Collectives group) {
        this.crossEntropy = crossEntropy;
        this.group = group;
    }

    /** Weighted sums of the log-probabilities of trained tokens, one a document. Collective over the group. */
    double[] logProbabilities(Objective.Part part, Answers answers) {
        double[] sums = new double[answers.count()];
        addLogProbabilities(part, answers, sums);
        return summed(sums, part.hidden().device());
    }

    /**
     * The same, and behind it the mean logit of each document: over its tokens and the vocabulary. Collective over the group.
     */
    double[] logProbabilitiesAndLogits(Objective.Part part, Answers answers) {
        double[] sums = new double[2 * answers.count()];
        addLogProbabilities(part, answers, sums);
        try (TensorScope scope = TensorScope.open()) {
            float[] logits = host(crossEntropy.meanLogits(part.hidden())); // [s]
            for (int t = 0; t < logits.length; t++) {
                int document = answers.document(part.slice().first() + t);
                if (document < answers.count()) {
                    sums[answers.count() + document] += logits[t] / answers.length(document);
                }
            }
        }
        return summed(sums, part.hidden().device());
    }

    private void addLogProbabilities(Objective.Part part, Answers answers, double[] sums) {
        CountingTokens tokens = CountingTokens.of(part.slice().targets());
        if (tokens.isEmpty()) {
            return;
        }
        try (TensorScope scope = TensorScope.open()) {
            Tensor hidden = part.hidden();
            float[] all = host(crossEntropy.logProbabilities(tokens.rowsOf(hidden), tokens.targetsOn(hidden))); // [m]
            for (int i = 0; i < all.length; i++) {
                int place = part.slice().first() + tokens.places()[i];
                int document = answers.document(place);
                sums[document] += answers.weight(document, place) * all[i];
            }
        }
    }

    private double[] summed(double[] sums, Device device) {
        if (group.size() == 1 || sums.length == 0) { // the same on all ranks of the group
            return sums;
        }
        return group.sum(sums, device);
    }

    private static float[] host(Tensor values) {
        float[] all = new float[Math.toIntExact(values.numel())];
        new FloatPointer(values.cpu().contiguous().data_ptr()).get(all);
        return all;
    }
}
