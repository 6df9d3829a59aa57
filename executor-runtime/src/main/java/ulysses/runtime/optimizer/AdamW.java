package ulysses.runtime.optimizer;

import java.util.List;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.memory.AtenOperator;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.Parameters;

/**
 * Adam with decoupled weight decay (Loshchilov and Hutter, arXiv:1711.05101) over the flat float32 master weights, by libtorch's
 * fused kernel: group by group, each with its own decay (norms and biases have none) and its own factor on the learning rate. Holds both moments, float32, for the run.
 */
public final class AdamW implements AutoCloseable {

    private static final AtenOperator FUSED = AtenOperator.named("_fused_adamw_");

    private final Parameters parameters;
    private final StepConfig config;
    private final Tensor firstMoment;
    private final Tensor secondMoment;
    private long steps;

    /** Moments of zero, no step done. */
    public AdamW(Parameters parameters, StepConfig config) {
        this.parameters = parameters;
        this.config = config;
        this.firstMoment = TensorScope.own(torch.zeros_like(parameters.master()));
        this.secondMoment = TensorScope.own(torch.zeros_like(parameters.master()));
    }

    /** Updates the weights from the gradients. */
    public void step(double learningRate) {
        steps++;
        for (Parameters.Group group : parameters.groups()) {
            update(group.stretch(), learningRate * group.rate(), group.decayed() ? config.weightDecay() : 0);
        }
        parameters.publishMaster();
    }

    private void update(Parameters.Stretch stretch, double learningRate, double decay) {
        long first = stretch.first();
        long elements = stretch.elements();
        try (TensorScope scope = TensorScope.open()) {
            Tensor step = torch.full(
                    new long[] {},
                    new Scalar((double) steps),
                    parameters.master().options());
            FUSED.call(
                    List.of(parameters.master().narrow(0, first, elements)),
                    List.of(parameters.gradients().narrow(0, first, elements)),
                    List.of(firstMoment.narrow(0, first, elements)),
                    List.of(secondMoment.narrow(0, first, elements)),
                    List.of(),
                    List.of(step),
                    learningRate,
                    config.beta1(),
                    config.beta2(),
                    decay,
                    config.epsilon(),
                    false,
                    false,
                    null,
                    null);
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

    /** Mean of gradients, flat, laid out like the parameters. */
    public Tensor firstMoment() {
        return firstMoment;
    }

    /** Mean of squared gradients, flat, laid out like the parameters. */
    public Tensor secondMoment() {
        return secondMoment;
    }

    @Override
    public void close() {
        firstMoment.close();
        secondMoment.close();
    }
}
