package ulysses.runtime.model;

import java.util.List;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.AtenOperator;
import ulysses.runtime.segment.Parameter;

/** down(silu(gate(x)) ⊙ up(x)): [s,D] to [s,D] over [s,F]. */
record GatedMlp(Linear gate, Linear up, Linear down) {

    private static final AtenOperator SILU_BACKWARD = AtenOperator.named("silu_backward");

    /** What both products of the input gave, [s,F] each: all that backward needs beside the input. */
    record Inner(Tensor gate, Tensor up) {}

    /** Features inside, F. */
    long width() {
        return down.weight().value().size(1);
    }

    /** The products of {@code x} [s,D] with the gate and up projections. */
    Inner inner(Tensor x, AdapterDropout dropout) {
        return new Inner(gate.apply(x, dropout), up.apply(x, dropout));
    }

    /** The result [s,D]. */
    Tensor output(Inner inner, AdapterDropout dropout) {
        return down.apply(torch.silu(inner.gate()).mul_(inner.up()), dropout);
    }

    /** Gradient of {@code x} [s,D] from that of the result; those of trained parameters are accumulated. */
    Tensor backward(Tensor x, Inner inner, Tensor dOutput, AdapterDropout dropout) {
        Tensor activated = torch.silu(inner.gate()); // [s,F]
        Tensor dGated = down.backward(activated.mul(inner.up()), dOutput, dropout); // [s,F]
        Tensor dUp = activated.mul_(dGated); // [s,F]
        Tensor dGate = SILU_BACKWARD.call(dGated.mul_(inner.up()), inner.gate())[0]; // [s,F]
        return gate.backward(x, dGate, dropout).add_(up.backward(x, dUp, dropout)); // [s,D]
    }

    List<Parameter> parameters() {
        return Stream.of(gate, up, down)
                .flatMap(linear -> linear.parameters().stream())
                .toList();
    }
}
