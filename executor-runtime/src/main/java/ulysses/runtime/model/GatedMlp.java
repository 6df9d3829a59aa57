package ulysses.runtime.model;

import java.util.List;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.segment.Parameter;

/** down(silu(gate(x)) ⊙ up(x)): [s,D] to [s,D] over [s,F]. */
record GatedMlp(Linear gate, Linear up, Linear down) {

    /** Features inside, F. */
    long width() {
        return down.weight().value().size(1);
    }

    /** What the down projection is given: [s,D] to [s,F]. */
    Tensor gated(Tensor x, AdapterDropout dropout) {
        return torch.silu(gate.apply(x, dropout)).mul(up.apply(x, dropout));
    }

    /** Parameters of the part before the down projection. */
    List<Parameter> gatedParameters() {
        return Stream.of(gate, up)
                .flatMap(linear -> linear.parameters().stream())
                .toList();
    }
}
