package ulysses.runtime.objective;

import ulysses.runtime.config.PreferenceConfig;

/**
 * What a pair of answers costs, as a function of their log-probabilities, with its derivative; float64. Formulas: numerics.md, rule 9,
 * and LLaMA-Factory's {@code pref_loss}.
 */
public sealed interface PreferenceLoss {

    /**
     * Log-probabilities of both answers: sums over their tokens, or means where {@link #averages()}.
     *
     * @param chosen under the policy
     * @param rejected under the policy
     * @param referenceChosen under the reference; 0 without one
     * @param referenceRejected under the reference; 0 without one
     */
    record Scores(double chosen, double rejected, double referenceChosen, double referenceRejected) {

        /** How much more the policy prefers the chosen answer than the reference does. */
        double margin() {
            return (chosen - rejected) - (referenceChosen - referenceRejected);
        }
    }

    /**
     * Loss of one pair.
     *
     * @param loss what is minimised
     * @param dChosen its derivative with respect to the policy's score of the chosen answer
     * @param dRejected the same of the rejected one
     */
    record Value(double loss, double dChosen, double dRejected) {

        private static Value ofMargin(double loss, double dMargin) {
            return new Value(loss, dMargin, -dMargin);
        }
    }

    /** The loss that {@code config} names. */
    static PreferenceLoss of(PreferenceConfig config) {
        double beta = config.beta();
        return switch (config.loss()) {
            case SIGMOID -> new Sigmoid(beta, config.labelSmoothing());
            case HINGE -> new Hinge(beta);
            case IPO -> new Ipo(beta);
            case ORPO -> new Orpo(beta);
            case SIMPO -> new Simpo(beta, config.simpoGamma());
        };
    }

    /** The loss and its derivative. */
    Value of(Scores scores);

    /** {@code pref_beta}: rewards are this times the log-probabilities. */
    double beta();

    /** Whether log-probabilities are divided by the trained tokens of their answer. */
    default boolean averages() {
        return true;
    }

    /** DPO (arXiv:2305.18290), with conservative labels (label smoothing) if {@code smoothing} is not 0. */
    record Sigmoid(double beta, double smoothing) implements PreferenceLoss {
        @Override
        public Value of(Scores scores) {
            double x = beta * scores.margin();
            double loss = -(1 - smoothing) * logSigmoid(x) - smoothing * logSigmoid(-x);
            return Value.ofMargin(loss, beta * (smoothing * sigmoid(x) - (1 - smoothing) * sigmoid(-x)));
        }

        @Override
        public boolean averages() {
            return false;
        }
    }

    /** SLiC's hinge on DPO's margin (arXiv:2305.10425). */
    record Hinge(double beta) implements PreferenceLoss {
        @Override
        public Value of(Scores scores) {
            double x = 1 - beta * scores.margin();
            return Value.ofMargin(Math.max(0, x), x > 0 ? -beta : 0);
        }

        @Override
        public boolean averages() {
            return false;
        }
    }

    /** IPO (arXiv:2310.12036), on means as its authors correct it. */
    record Ipo(double beta) implements PreferenceLoss {
        @Override
        public Value of(Scores scores) {
            double x = scores.margin() - 1 / (2 * beta);
            return Value.ofMargin(x * x, 2 * x);
        }
    }

    /** ORPO (arXiv:2403.07691): the chosen answer is learnt, too. */
    record Orpo(double beta) implements PreferenceLoss {
        @Override
        public Value of(Scores scores) {
            double chosen = scores.chosen();
            double rejected = scores.rejected();
            double x = (chosen - rejected) - (log1mExp(chosen) - log1mExp(rejected));
            double slope = -beta * sigmoid(-x); // d log-odds of an answer = 1 / (1 - p)
            return new Value(
                    -chosen - beta * logSigmoid(x), -1 - slope / Math.expm1(chosen), slope / Math.expm1(rejected));
        }

        private static double log1mExp(double logProbability) {
            return Math.log1p(-Math.exp(logProbability));
        }
    }

    /** SimPO (arXiv:2405.14734); {@code gamma} is the margin that is asked for. */
    record Simpo(double beta, double gamma) implements PreferenceLoss {
        @Override
        public Value of(Scores scores) {
            double x = beta * (scores.chosen() - scores.rejected()) - gamma;
            return Value.ofMargin(-logSigmoid(x), -beta * sigmoid(-x));
        }
    }

    private static double sigmoid(double x) {
        return x >= 0 ? 1 / (1 + Math.exp(-x)) : Math.exp(x) / (1 + Math.exp(x));
    }

    private static double logSigmoid(double x) {
        return Math.min(x, 0) - Math.log1p(Math.exp(-Math.abs(x)));
    }
}
