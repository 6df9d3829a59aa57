package ulysses.runtime.model;

import java.util.List;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.segment.Parameter;

/** down(silu(gate(x)) ⊙ up(x)): [s,D] to [s,D] over [s,F]. */
record GatedMlp(Linear gate, Linear up, Linear down) {

    Tensor apply(Tensor x) {
        return down.apply(torch.silu(gate.apply(x)).mul(up.apply(x)));
    }

    List<Parameter> parameters() {
        return Stream.of(gate, up, down)
                .flatMap(linear -> linear.parameters().stream())
                .toList();
    }
}
