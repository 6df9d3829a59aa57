package ulysses.runtime.attention;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.cuda.global.cudnn;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.memory.AtenOperator;
import ulysses.runtime.memory.TensorScope;

/**
 * cuDNN's flash attention, document by document, without a window; bfloat16. It reads our layout [S,n,H] as it is, forward grouped kv
 * heads too; backward gets them repeated, since libtorch's form for groups wants a cuDNN newer than 9.19. Its own packed form ({@code cum_seq}) is not used: with cuDNN 9.19 its gradients were wrong and its forward 4 times slower.
 */
final class CudnnAttention implements CoreAttention {

    /** Of cuDNN, as it counts: the one libtorch was built with. With 9.19 its backward is refused: a graph attribute is unknown. */
    private static final long OLDEST = 92_500;

    private static final AtenOperator FORWARD = AtenOperator.named("_cudnn_attention_forward");
    private static final AtenOperator BACKWARD = AtenOperator.named("_cudnn_attention_backward");

    /** Whether this machine's cuDNN is new enough. */
    static boolean isAvailable() {
        return Installed.VERSION >= OLDEST;
    }

    /** Asked once. */
    private static final class Installed {
        static final long VERSION = version();

        private static long version() {
            try {
                return cudnn.cudnnGetVersion();
            } catch (LinkageError e) { // no CUDA build, or none of its libraries here
                return 0;
            }
        }
    }

    @Override
    public Output forward(Qkv qkv, SequenceLayout layout) {
        try (TensorScope scope = TensorScope.open()) {
            List<Tensor> outs = new ArrayList<>();
            List<Tensor> logsumexps = new ArrayList<>();
            for (int d = 0; d < layout.documents(); d++) {
                long length = layout.length(d);
                Tensor[] result = FORWARD.call(
                        document(qkv.q(), layout, d),
                        document(qkv.k(), layout, d),
                        document(qkv.v(), layout, d),
                        null,
                        null,
                        null,
                        length,
                        length,
                        true,
                        0.0,
                        true,
                        false,
                        null);
                outs.add(tokensFirst(result[0])); // [length,n,H]
                logsumexps.add(result[1]); // [1,n,length,1]
            }
            return new Output(scope.keep(joined(outs, 0).contiguous()), scope.keep(joined(logsumexps, 2)));
        }
    }

    @Override
    public Qkv backward(Tensor dOut, Qkv qkv, Output output, SequenceLayout layout) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor noRandomState =
                    torch.zeros(new long[] {}, qkv.q().options()).to(torch.ScalarType.Long); // unused without dropout
            Tensor k = CudaEfficientAttention.repeated(qkv.k(), qkv.q());
            Tensor v = CudaEfficientAttention.repeated(qkv.v(), qkv.q());
            List<List<Tensor>> gradients = List.of(new ArrayList<>(), new ArrayList<>(), new ArrayList<>());
            for (int d = 0; d < layout.documents(); d++) {
                long length = layout.length(d);
                Tensor[] result = BACKWARD.call(
                        document(dOut, layout, d),
                        document(qkv.q(), layout, d),
                        document(k, layout, d),
                        document(v, layout, d),
                        document(output.out(), layout, d),
                        output.logsumexp().narrow(2, layout.start(d), length).contiguous(),
                        noRandomState,
                        noRandomState,
                        new Tensor(), // no bias
                        new Tensor(), // not packed
                        new Tensor(),
                        length,
                        length,
                        0.0,
                        true,
                        null);
                for (int i = 0; i < gradients.size(); i++) {
                    gradients.get(i).add(tokensFirst(result[i]));
                }
            }
            return new Qkv(
                    scope.keep(joined(gradients.get(0), 0)),
                    scope.keep(CudaEfficientAttention.summed(joined(gradients.get(1), 0), qkv.k())),
                    scope.keep(CudaEfficientAttention.summed(joined(gradients.get(2), 0), qkv.v())));
        }
    }

    private static Tensor document(Tensor x, SequenceLayout layout, int d) {
        return x.narrow(0, layout.start(d), layout.length(d)).transpose(0, 1).unsqueeze(0); // [1,n,length,H]
    }

    private static Tensor tokensFirst(Tensor x) {
        return x.squeeze(0).transpose(0, 1); // [length,n,H]
    }

    private static Tensor joined(List<Tensor> parts, long axis) {
        return parts.size() == 1 ? parts.get(0) : torch.cat(new TensorVector(parts.toArray(Tensor[]::new)), axis);
    }
}
