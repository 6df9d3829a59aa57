package ulysses.runtime.gradient;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.ParameterSharing;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.segment.Parameter;

/**
 * The gradients of a model on their way to the optimizer: summed over all ranks, since each rank's loss is already divided by the
 * trained tokens of all of them; then their norm, then clipping. Where optimizer states are cut, each rank goes on with what it owns
 * of the sum. Collective: every rank calls the same methods in the same order.
 */
public final class GradientBuckets {

    /** Elements of one all-reduce: 64 MiB; chosen, not tuned. */
    private static final long BUCKET_ELEMENTS = 16L << 20;

    /** What transformers and torch add to the norm before they divide by it. */
    private static final double CLIP_EPSILON = 1e-6;

    private final Parameters parameters;
    private final ParameterSharing sharing;

    /** For the gradients of {@code parameters}, held by every rank of {@code world}. */
    public GradientBuckets(Parameters parameters, Collectives world) {
        this(new ParameterSharing(parameters, world));
    }

    /** For the gradients of the parameters that {@code sharing} is about. */
    public GradientBuckets(ParameterSharing sharing) {
        this.parameters = sharing.parameters();
        this.sharing = sharing;
    }

    /** Sums the gradients over all ranks, bucket by bucket; where they are cut, that was begun while backward ran. */
    public void reduce() {
        if (parameters.sharding().cutsStates()) {
            sharing.reduceGradients();
        } else if (world().size() > 1) {
            reduceEverywhere();
        }
    }

    private Collectives world() {
        return sharing.world();
    }

    private void reduceEverywhere() {
        Tensor gradients = parameters.gradients();
        for (long first = 0; first < gradients.numel(); first += BUCKET_ELEMENTS) {
            try (TensorScope scope = TensorScope.open()) {
                long elements = Math.min(BUCKET_ELEMENTS, gradients.numel() - first);
                world().allReduceSum(gradients.narrow(0, first, elements)).await();
            }
        }
    }

    /** Euclidean norm of all gradients, in float64; the same on all ranks after {@link #reduce}. */
    public double norm() {
        return Math.sqrt(parameters.sharding().cutsStates() ? squaresOfAllRanks() : squares());
    }

    private double squares() {
        double squares = 0;
        for (Parameter parameter : parameters.trained()) {
            squares += WideSum.ofSquares(parameter.gradient());
        }
        return squares;
    }

    private double squaresOfAllRanks() {
        double squares = 0;
        for (Parameters.Share share : parameters.shares()) {
            squares += WideSum.ofSquares(share.gradients());
        }
        return sharing.sum(squares)[0];
    }

    /** Scales the gradients so that their norm, now {@code norm}, is at most {@code limit}; a limit of 0 changes nothing. */
    public void clip(double norm, double limit) {
        double factor = limit / (norm + CLIP_EPSILON);
        if (limit > 0 && factor < 1) {
            try (TensorScope scope = TensorScope.open()) {
                Scalar scale = new Scalar((double) (float) factor);
                parameters.shares().forEach(share -> share.gradients().mul_(scale));
            }
        }
    }
}
