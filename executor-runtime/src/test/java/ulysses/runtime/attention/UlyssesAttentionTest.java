package ulysses.runtime.attention;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Random;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.attention.HeadSequenceExchange.Arriving;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.HeadLayout;
import ulysses.runtime.segment.Autograd;
import ulysses.runtime.segment.PhaseClock;

/**
 * Attention split over ranks against a masked softmax over the whole sequence, in float64: each rank's part of the output and of all
 * gradients, for every way heads can fall on ranks.
 */
final class UlyssesAttentionTest {

    private static final int SIZE = 8; // H
    private static final SequenceLayout LAYOUT = new SequenceLayout(new int[] {0, 1, 14, 15, 40, 60}); // S = 60

    @ParameterizedTest(name = "P = {0}, {2} local blocks of {1}, {3} sinks")
    @CsvSource({
        "1,1,0,0", "2,1,0,0", "3,1,0,0", "4,1,0,0", "5,1,0,0", "6,1,0,0", "4,1,7,0", "1,1,7,2", "2,1,7,2", "4,1,7,2",
        "1,4,2,4", "2,4,2,4", "4,4,2,4"
    })
    void eachPartEqualsThatOfTheWholeSequence(int ranks, int block, int local, int sinks) {
        AttentionPattern pattern = new AttentionPattern(block, local, sinks);
        RankThreads.forEachRank(ranks, groups -> {
            for (int[] ratio : new int[][] {{8, 8}, {8, 2}, {8, 1}, {6, 2}, {7, 1}, {14, 2}, {28, 4}}) {
                check(groups.sequenceParallel(), ratio[0], ratio[1], pattern);
            }
        });
    }

    private static void check(Collectives group, int heads, int kvHeads, AttentionPattern pattern) {
        try (TensorScope scope = TensorScope.open()) {
            Random random = new Random(heads); // the same on all ranks
            List<Tensor> qkv = List.of(
                    TensorArrays.gaussian(random, LAYOUT.length(), heads, SIZE),
                    TensorArrays.gaussian(random, LAYOUT.length(), kvHeads, SIZE),
                    TensorArrays.gaussian(random, LAYOUT.length(), kvHeads, SIZE));
            Tensor dOutput = TensorArrays.gaussian(random, LAYOUT.length(), heads, SIZE);
            Autograd.Result plain = Autograd.of(
                    leaves -> PlainAttention.apply(leaves.get(0), leaves.get(1), leaves.get(2), LAYOUT, pattern),
                    qkv,
                    dOutput);

            HeadLayout layout = new HeadLayout(heads, kvHeads, group.size());
            UlyssesAttention attention = new UlyssesAttention(
                    new HeadSequenceExchange(layout, group, true),
                    CoreAttention.on(Device.CPU, pattern),
                    new PhaseClock());
            Qkv local = new Qkv(part(qkv.get(0), group), part(qkv.get(1), group), part(qkv.get(2), group));
            Qkv exchanged = attention.exchange(local);
            UlyssesAttention.Forward forward = attention.forward(exchanged, LAYOUT);
            Qkv gradients;
            try (Arriving dOut = attention.sendOutputGradient(part(dOutput, group))) {
                gradients = attention.exchangeBackward(attention.backward(dOut, exchanged, forward.core(), LAYOUT));
            }

            String what = "(%d,%d) on rank %d of %d: ".formatted(heads, kvHeads, group.rank(), group.size());
            close(what + "output", forward.output(), part(plain.output(), group));
            close(what + "output again", attention.outputAgain(forward.core()), part(plain.output(), group));
            close(what + "dq", gradients.q(), part(plain.gradients().get(0), group));
            close(what + "dk", gradients.k(), part(plain.gradients().get(1), group));
            close(what + "dv", gradients.v(), part(plain.gradients().get(2), group));
        }
    }

    private static Tensor part(Tensor whole, Collectives group) {
        long s = whole.size(0) / group.size();
        return whole.narrow(0, group.rank() * s, s).contiguous();
    }

    private static void close(String what, Tensor actual, Tensor expected) {
        assertThat(TensorArrays.relative(actual, expected)).as(what).isLessThan(1e-13);
        assertThat(actual.scalar_type().intern()).isEqualTo(torch.ScalarType.Double);
    }
}
