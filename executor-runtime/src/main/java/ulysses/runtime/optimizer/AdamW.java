package ulysses.runtime.optimizer;

import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.memory.AtenOperator;
import ulysses.runtime.memory.StateHome;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.weights.ParameterBlock;

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101) over the float32 master weights that this rank owns, by
 * libtorch's fused kernel: stretch by stretch, each with its own decay (norms and biases have none) and its own factor on the
 * learning rate. Holds both moments of what it owns, float32, for the run.
 */
public final class AdamW implements AutoCloseable {

    private static final AtenOperator FUSED = AtenOperator.named("_fused_adamw_");

    private final Parameters parameters;
    private final StepConfig config;
    private final long pieceElements;
    private final Tensor firstMoment;
    private final Tensor secondMoment;
    private long steps;

    /** Moments of zero beside the parameters, no step done. */
    public AdamW(Parameters parameters, StepConfig config) {
        this(parameters, config, StateHome.on(parameters.device()));
    }

    /** Moments of zero in {@code home}, where the master weights are, too; no step done. */
    public AdamW(Parameters parameters, StepConfig config, StateHome home) {
        this(parameters, config, home, StateHome.PIECE_ELEMENTS);
    }

    /** The same, {@code pieceElements} at a time: what is brought to moments that are elsewhere takes that much room, and no more. */
    AdamW(Parameters parameters, StepConfig config, StateHome home, long pieceElements) {
        this.pieceElements = pieceElements;
        this.parameters = parameters;
        this.config = config;
        this.firstMoment = home.zeros(parameters.ownedElements());
        this.secondMoment = home.zeros(parameters.ownedElements());
    }

    /** Updates the weights that this rank owns from their gradients. */
    public void step(double learningRate) {
        steps++;
        for (Parameters.Share share : parameters.shares()) {
            for (ParameterBlock.Run run :
                    share.block().runs(parameters.sharding().rank())) {
                for (long first = 0; first < run.elements(); first += pieceElements) {
                    long elements = Math.min(pieceElements, run.elements() - first);
                    update(share, run.offset() + first, elements, learningRate * run.rate(), run.decayed());
                }
            }
        }
        parameters.publishMaster();
    }

    /** Of {@code elements} elements of {@code share} from {@code offset} on. */
    private void update(Parameters.Share share, long offset, long elements, double learningRate, boolean decayed) {
        long owned = share.first() + offset;
        try (TensorScope scope = TensorScope.open()) {
            Device home = firstMoment.device();
            Tensor step = torch.full(new long[] {}, new Scalar((double) steps), firstMoment.options());
            Tensor master = share.master().narrow(0, offset, elements);
            Tensor weights = master.to(home, torch.ScalarType.Float); // itself, but for float32 weights of a GPU
            Tensor gradients = share.gradients().narrow(0, offset, elements);
            FUSED.call(
                    List.of(weights),
                    List.of(gradients.to(home, torch.ScalarType.Float)),
                    List.of(firstMoment.narrow(0, owned, elements)),
                    List.of(secondMoment.narrow(0, owned, elements)),
                    List.of(),
                    List.of(step),
                    learningRate,
                    config.beta1(),
                    config.beta2(),
                    decayed ? config.weightDecay() : 0.0,
                    config.epsilon(),
                    false,
                    false,
                    null,
                    null);
            if (!weights.is_alias_of(master)) {
                master.copy_(weights);
            }
        }
    }

    /** Steps done; part of the state, since the moments' bias correction needs it. */
    public long steps() {
        return steps;
    }

    /** Takes up a state whose moments were written to {@link #firstMoment} and {@link #secondMoment}. */
    public void resumeAfter(long stepsDone) {
        steps = stepsDone;
    }

    /** Mean of gradients, flat, laid out like what this rank owns. */
    public Tensor firstMoment() {
        return firstMoment;
    }

    /** Mean of squared gradients, flat, laid out like what this rank owns. */
    public Tensor secondMoment() {
        return secondMoment;
    }

    @Override
    public void close() {
        firstMoment.close();
        secondMoment.close();
    }
}
