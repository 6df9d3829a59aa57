package ulysses.runtime.objective;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.config.PreferenceConfig;
import ulysses.runtime.config.PreferenceConfig.Loss;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Parameter;

/**
 * Preference training on pairs: documents 2k and 2k + 1 of a micro-batch are the chosen and the rejected answer of a pair. Sums over
 * whole answers are agreed on by the group before the loss, which every rank then computes alike; backward gives each token the
 * derivative of the loss with respect to its log-probability, in a second pass over the head (numerics.md, rule 9). Loss and metrics
 * are means over the pairs of all ranks and micro-batches. A rank that holds prompts only contributes exactly zero.
 */
public final class Preference implements Objective {
    private static final List<String> METRICS = List.of(
            "rewards/chosen",
            "rewards/rejected",
            "rewards/accuracies",
            "rewards/margins",
            "logps/chosen",
            "logps/rejected",
            "logits/chosen",
            "logits/rejected");
    private static final List<String> METRICS_OF_ORPO = List.of("sft_loss", "odds_ratio_loss");

    private final PreferenceConfig config;
    private final PreferenceLoss loss;
    private final Optional<Reference> reference;
    private final TiledCrossEntropy crossEntropy;
    private final AnswerScores scores;
    private final Collectives group;
    private final List<String> metrics;

    /**
     * Preferences of the model with this {@code head} [V,D].
     *
     * @param reference empty for a loss that needs none
     * @param group shares each sequence
     */
    public Preference(PreferenceConfig config, Parameter head, Optional<Reference> reference, Collectives group) {
        this.config = config;
        this.loss = PreferenceLoss.of(config);
        if (config.loss().comparesWithReference() != reference.isPresent()) {
            throw new IllegalArgumentException("pref_loss %s %s a reference"
                    .formatted(config.loss(), config.loss().comparesWithReference() ? "needs" : "has no use for"));
        }
        this.reference = reference;
        this.crossEntropy = new TiledCrossEntropy(head);
        this.scores = new AnswerScores(crossEntropy, group);
        this.group = group;
        List<String> names = new ArrayList<>(METRICS);
        if (config.loss() == Loss.ORPO) {
            names.addAll(METRICS_OF_ORPO);
        }
        this.metrics = List.copyOf(names);
    }

    @Override
    public List<String> metrics() {
        return metrics;
    }

    @Override
    public long terms(StepBatches step) {
        return step.globalDocuments() / 2;
    }

    @Override
    public double[] reference(MicroBatch batch) {
        return reference.map(model -> model.documentSums(batch)).orElseGet(() -> new double[batch.documents()]);
    }

    @Override
    public Sums sums(Part part) {
        Answers answers = answers(part.batch());
        double[] found = scores.logProbabilitiesAndLogits(part, answers);
        return shared(compare(part, answers, found, new double[answers.count()]));
    }

    @Override
    public Outcome lossAndGradient(Part part, long terms) {
        Answers answers = answers(part.batch());
        double[] found = scores.logProbabilitiesAndLogits(part, answers);
        double[] slopes = new double[answers.count()];
        Sums sums = compare(part, answers, found, slopes);
        return new Outcome(shared(sums), backward(part, answers, slopes, terms));
    }

    /** Policy and reference are compared as they are, as in LLaMA-Factory. */
    @Override
    public boolean allowsDropout() {
        return false;
    }

    private Answers answers(MicroBatch batch) {
        if (batch.documents() % 2 != 0) {
            throw new IllegalArgumentException("%d documents are no pairs".formatted(batch.documents()));
        }
        return config.ldAlpha() == null ? Answers.of(batch) : Answers.ofPairs(batch, config.ldAlpha());
    }

    /**
     * Loss and metrics of all pairs.
     *
     * @param found log-probabilities of all documents, then their mean logits
     * @param slopes takes the derivative of the sum of losses with respect to each document's log-probability
     */
    private Sums compare(Part part, Answers answers, double[] found, double[] slopes) {
        double[] measured = new double[metrics.size()];
        double total = 0;
        for (int chosen = 0; chosen < answers.count(); chosen += 2) {
            int rejected = chosen + 1;
            double chosenTokens = loss.averages() ? answers.trained(chosen) : 1;
            double rejectedTokens = loss.averages() ? answers.trained(rejected) : 1;
            if (chosenTokens == 0 || rejectedTokens == 0) {
                continue; // a mean over no token says nothing
            }
            PreferenceLoss.Scores pair = new PreferenceLoss.Scores(
                    found[chosen] / chosenTokens,
                    found[rejected] / rejectedTokens,
                    part.reference()[chosen] / chosenTokens,
                    part.reference()[rejected] / rejectedTokens);
            PreferenceLoss.Value value = loss.of(pair);
            double sftLoss = answers.trained(chosen) == 0 ? 0 : -found[chosen] / answers.trained(chosen);
            double pairLoss = value.loss() + config.ftx() * sftLoss;
            slopes[chosen] = value.dChosen() / chosenTokens - config.ftx() / Math.max(1, answers.trained(chosen));
            slopes[rejected] = value.dRejected() / rejectedTokens;
            total += pairLoss;
            double[] logits = {found[answers.count() + chosen], found[answers.count() + rejected]};
            measure(measured, pair, logits);
            if (config.loss() == Loss.ORPO) {
                measured[METRICS.size()] += sftLoss;
                measured[METRICS.size() + 1] += (pairLoss - sftLoss) / loss.beta();
            }
        }
        return new Sums(total, measured);
    }

    /** In the order of {@link #METRICS}. */
    private void measure(double[] measured, PreferenceLoss.Scores pair, double[] logits) {
        double chosenReward = loss.beta() * (pair.chosen() - pair.referenceChosen());
        double rejectedReward = loss.beta() * (pair.rejected() - pair.referenceRejected());
        double[] values = {
            chosenReward,
            rejectedReward,
            chosenReward > rejectedReward ? 1 : 0,
            chosenReward - rejectedReward,
            pair.chosen(),
            pair.rejected(),
            logits[0],
            logits[1]
        };
        for (int i = 0; i < values.length; i++) {
            measured[i] += values[i];
        }
    }

    /** The group computed it together; its first rank counts it. */
    private Sums shared(Sums sums) {
        return group.rank() == 0 ? sums : nothing();
    }

    private Tensor backward(Part part, Answers answers, double[] slopes, long terms) {
        CountingTokens tokens = CountingTokens.of(part.slice().targets());
        try (TensorScope scope = TensorScope.open()) {
            Tensor hidden = part.hidden(); // [s,D]
            if (tokens.isEmpty()) {
                return scope.keep(torch.zeros_like(hidden));
            }
            float[] weights = new float[tokens.count()];
            for (int i = 0; i < weights.length; i++) {
                int place = part.slice().first() + tokens.places()[i];
                int document = answers.document(place);
                weights[i] = (float) (slopes[document] * answers.weight(document, place) / terms);
            }
            Tensor dCounting = torch.empty_like(hidden.narrow(0, 0, tokens.count())); // [m,D]
            crossEntropy.gradients(
                    tokens.rowsOf(hidden),
                    tokens.targetsOn(hidden),
                    torch.tensor(weights).to(hidden.device(), torch.ScalarType.Float),
                    dCounting);
            return scope.keep(tokens.spread(dCounting, hidden));
        }
    }
}
