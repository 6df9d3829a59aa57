package ulysses.runtime.check;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.check.GpuCheck.Measured;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.LoneNcclGroup;
import ulysses.runtime.memory.TensorScope;

/** Every operation of NCCL that training uses, in a group of one: what goes in has to come out. */
final class CollectivesCheck {

    private static final Device CUDA = new Device("cuda:0");
    private static final long ROWS = 1000;

    private CollectivesCheck() {}

    static List<Measured> run() {
        List<Measured> results = new ArrayList<>();
        try (LoneNcclGroup lone = new LoneNcclGroup()) {
            for (torch.ScalarType type : new torch.ScalarType[] {torch.ScalarType.Float, torch.ScalarType.BFloat16}) {
                check(lone.group(), type, results);
            }
            lone.group().barrier();
        }
        return results;
    }

    private static void check(Collectives group, torch.ScalarType type, List<Measured> results) {
        try (TensorScope scope = TensorScope.open()) {
            Tensor in = torch.randn(new long[] {ROWS, 64}).to(CUDA, type);
            long[] all = {ROWS};
            Tensor exchanged = torch.zeros_like(in);
            group.allToAll(exchanged, in, all, all).await();
            Tensor reduced = in.clone();
            group.allReduceSum(reduced).await();
            Tensor scattered = torch.zeros_like(in);
            group.reduceScatterSum(scattered, in).await();
            Tensor gathered = torch.zeros_like(in);
            group.allGather(gathered, in).await();
            Tensor sent = in.clone();
            group.broadcast(sent, 0).await();
            String suffix = type == torch.ScalarType.Float ? " float32" : " bfloat16";
            results.add(same("all-to-all" + suffix, exchanged, in));
            results.add(same("all-reduce" + suffix, reduced, in));
            results.add(same("reduce-scatter" + suffix, scattered, in));
            results.add(same("all-gather" + suffix, gathered, in));
            results.add(same("broadcast" + suffix, sent, in));
        }
    }

    private static Measured same(String what, Tensor found, Tensor expected) {
        return new Measured(what, Difference.relative(found, expected), Double.MIN_VALUE);
    }
}
