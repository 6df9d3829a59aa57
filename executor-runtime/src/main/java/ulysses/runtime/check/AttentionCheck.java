package ulysses.runtime.check;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.CoreAttention;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.attention.SequenceLayout;
import ulysses.runtime.check.GpuCheck.Measured;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.ParallelConfig;
import ulysses.runtime.memory.TensorScope;

/**
 * Every CUDA kernel, output and gradients, against the CPU kernel in float64 (which the tests hold against a masked softmax): one
 * document and many, grouped heads, windows.
 */
final class AttentionCheck {

    private static final Device CUDA = new Device("cuda:0");
    private static final List<String> NAMES = List.of("out", "dq", "dk", "dv");

    private AttentionCheck() {}

    private record Case(
            String kernel, SequenceLayout layout, int heads, int kvHeads, int size, int window, boolean bf16) {

        String text() {
            return "%s, %d documents of %d tokens, %d heads over %d of %d, window %d"
                    .formatted(kernel, layout.documents(), layout.length(), heads, kvHeads, size, window);
        }
    }

    static List<Measured> run() {
        SequenceLayout many = new SequenceLayout(new int[] {0, 1, 6, 7, 44, 174, 175, 425, 428, 900});
        SequenceLayout one = new SequenceLayout(new int[] {0, 700});
        List<Measured> results = new ArrayList<>();
        for (int window : new int[] {0, 24}) {
            for (SequenceLayout layout : List.of(one, many)) {
                compare(new Case("memory-efficient", layout, 6, 2, 16, window, false), results);
                compare(new Case("memory-efficient", layout, 4, 4, 64, window, false), results);
                compare(new Case("flash", layout, 6, 2, 64, window, true), results);
                compare(new Case("flash", layout, 8, 1, 128, window, true), results);
            }
        }
        SequenceLayout longAndShort = new SequenceLayout(new int[] {0, 5, 400, 8592, 8600, 16800, 16801});
        compare(new Case("cuDNN or flash", longAndShort, 4, 2, 64, 0, true), results);
        compareWithSomeAlone(results);
        return results;
    }

    private static void compare(Case tried, List<Measured> results) {
        try (TensorScope scope = TensorScope.open()) {
            SequenceLayout layout = tried.layout();
            torch.ScalarType type = tried.bf16() ? torch.ScalarType.BFloat16 : torch.ScalarType.Float;
            double limit = tried.bf16() ? 1e-2 : 1e-5;
            Qkv qkv = new Qkv(
                    random(layout, tried.heads(), tried.size(), type),
                    random(layout, tried.kvHeads(), tried.size(), type),
                    random(layout, tried.kvHeads(), tried.size(), type));
            Tensor dOut = random(layout, tried.heads(), tried.size(), type);
            List<Tensor> expected = outputAndGradients(
                    ParallelConfig.Device.CPU,
                    moved(qkv, torch.ScalarType.Double),
                    dOut.to(torch.ScalarType.Double),
                    layout,
                    tried.window());
            Qkv onDevice = new Qkv(
                    qkv.q().to(CUDA, type), qkv.k().to(CUDA, type), qkv.v().to(CUDA, type));
            List<Tensor> found = outputAndGradients(
                    ParallelConfig.Device.CUDA, onDevice, dOut.to(CUDA, type), layout, tried.window());
            for (int i = 0; i < NAMES.size(); i++) {
                results.add(new Measured(
                        tried.text() + ": " + NAMES.get(i), Difference.relative(found.get(i), expected.get(i)), limit));
            }
        }
    }

    /** A sequence so long that heads take turns, against some of its heads alone. */
    private static void compareWithSomeAlone(List<Measured> results) {
        int length = 70_000; // of 32 heads of 128: more than are taken at once
        try (TensorScope scope = TensorScope.open()) {
            SequenceLayout layout = new SequenceLayout(new int[] {0, length});
            Qkv all = new Qkv(onDevice(length, 32), onDevice(length, 8), onDevice(length, 8));
            Qkv some = new Qkv(
                    all.q().narrow(1, 28, 4).contiguous(),
                    all.k().narrow(1, 7, 1).contiguous(),
                    all.v().narrow(1, 7, 1).contiguous());
            List<Tensor> found = outputAndGradients(ParallelConfig.Device.CUDA, all, all.q(), layout, 0);
            List<Tensor> expected = outputAndGradients(ParallelConfig.Device.CUDA, some, some.q(), layout, 0);
            for (int i = 0; i < NAMES.size(); i++) {
                Tensor alone = expected.get(i);
                Tensor last = found.get(i).narrow(1, found.get(i).size(1) - alone.size(1), alone.size(1));
                results.add(new Measured(
                        "%d tokens, 32 heads in turn, the last 4 against them alone: %s"
                                .formatted(length, NAMES.get(i)),
                        Difference.relative(last, alone),
                        1e-2));
            }
        }
    }

    private static Tensor onDevice(long length, long heads) {
        return torch.randn(new long[] {length, heads, 128}).to(CUDA, torch.ScalarType.BFloat16);
    }

    private static List<Tensor> outputAndGradients(
            ParallelConfig.Device device, Qkv qkv, Tensor dOut, SequenceLayout layout, int window) {
        CoreAttention core = CoreAttention.on(device, AttentionPattern.window(window));
        CoreAttention.Output output = core.forward(qkv, layout);
        Qkv gradients = core.backward(dOut, qkv, output, layout);
        return List.of(output.out(), gradients.q(), gradients.k(), gradients.v());
    }

    private static Tensor random(SequenceLayout layout, int heads, int size, torch.ScalarType type) {
        return torch.randn(new long[] {layout.length(), heads, size}).to(type);
    }

    private static Qkv moved(Qkv qkv, torch.ScalarType type) {
        return new Qkv(qkv.q().to(type), qkv.k().to(type), qkv.v().to(type));
    }
}
