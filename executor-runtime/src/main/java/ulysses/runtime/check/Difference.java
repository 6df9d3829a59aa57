package ulysses.runtime.check;

import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/** How far two tensors are apart. */
final class Difference {
    private Difference() {}

    /** ‖found − expected‖ / ‖expected‖ in float64, on the host. */
    static double relative(Tensor found, Tensor expected) {
        Tensor a = found.to(new Device("cpu"), torch.ScalarType.Double);
        Tensor b = expected.to(new Device("cpu"), torch.ScalarType.Double);
        return a.sub(b).norm().item_double() / b.norm().item_double();
    }
}
