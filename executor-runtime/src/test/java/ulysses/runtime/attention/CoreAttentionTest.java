package ulysses.runtime.attention;

import static org.assertj.core.api.Assertions.assertThat;

import java.util.List;
import java.util.Random;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.memory.NativeRuntime;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Autograd;

/** The CPU kernel against a masked softmax in float64: output and all gradients. */
final class CoreAttentionTest {
    static {
        NativeRuntime.start(1);
    }

    private static final int SIZE = 16; // H

    /** One document, and many: of length 1, shorter and longer than windows and blocks of queries. */
    private static final List<SequenceLayout> LAYOUTS = List.of(
            new SequenceLayout(new int[] {0, 300}), new SequenceLayout(new int[] {0, 1, 6, 7, 44, 174, 175, 425, 428}));

    @ParameterizedTest(name = "{1} local blocks of {0}, {2} sinks, {3} heads over {4}")
    @CsvSource({
        "1,0,0,4,4",
        "1,0,0,4,2",
        "1,0,0,6,1",
        "1,1,0,4,2",
        "1,3,0,4,4",
        "1,3,0,6,1",
        "1,24,0,4,2",
        "1,128,0,4,2",
        "1,200,0,4,4",
        "1,200,0,6,2",
        "1,1000,0,4,2",
        "1,1,1,4,2",
        "1,24,4,4,2",
        "1,3,150,6,1",
        "1,128,1000,4,4",
        "16,1,0,4,2",
        "16,2,16,4,4",
        "16,1,40,6,1",
        "100,1,0,4,2",
        "100,1,100,4,2",
        "7,4,21,6,2"
    })
    void equalsAMaskedSoftmax(int block, int local, int sinks, int heads, int kvHeads) {
        AttentionPattern pattern = new AttentionPattern(block, local, sinks);
        for (SequenceLayout layout : LAYOUTS) {
            equalsAMaskedSoftmax(pattern, layout, heads, kvHeads);
        }
    }

    /** Blocks longer than a tile of queries, and tiles of several blocks. */
    @ParameterizedTest(name = "{1} local blocks of {0}, {2} sinks")
    @CsvSource({"600,1,600", "64,5,64", "700,1,0"})
    void equalsAMaskedSoftmaxOverManyTiles(int block, int local, int sinks) {
        AttentionPattern pattern = new AttentionPattern(block, local, sinks);
        equalsAMaskedSoftmax(pattern, new SequenceLayout(new int[] {0, 5, 1900}), 2, 1);
    }

    private static void equalsAMaskedSoftmax(AttentionPattern pattern, SequenceLayout layout, int heads, int kvHeads) {
        try (TensorScope scope = TensorScope.open()) {
            Random random = new Random(pattern.localBlocks() * 100L + heads);
            Qkv qkv = gaussian(random, layout.length(), heads, kvHeads);
            Tensor dOut = TensorArrays.gaussian(random, layout.length(), heads, SIZE);
            Autograd.Result plain = Autograd.of(
                    leaves -> PlainAttention.apply(leaves.get(0), leaves.get(1), leaves.get(2), layout, pattern),
                    List.of(qkv.q(), qkv.k(), qkv.v()),
                    dOut);

            compare(qkv, dOut, layout, pattern, plain, torch.ScalarType.Double, 1e-13);
            compare(qkv, dOut, layout, pattern, plain, torch.ScalarType.Float, 1e-6);
            compare(qkv, dOut, layout, pattern, plain, torch.ScalarType.BFloat16, 2e-2);
        }
    }

    /** With two threads and 1 or 3 kv heads the backward goes over copies. */
    @ParameterizedTest(name = "{0} heads over {1}")
    @CsvSource({"6,1", "9,3", "4,2"})
    void moreThreadsThanOneChangeNothing(int heads, int kvHeads) {
        torch.set_num_threads(2);
        try {
            equalsAMaskedSoftmax(1, 0, 0, heads, kvHeads);
            equalsAMaskedSoftmax(1, 24, 0, heads, kvHeads);
            equalsAMaskedSoftmax(16, 2, 16, heads, kvHeads);
        } finally {
            torch.set_num_threads(1);
        }
    }

    private static void compare(
            Qkv exact,
            Tensor dOut,
            SequenceLayout layout,
            AttentionPattern pattern,
            Autograd.Result plain,
            torch.ScalarType type,
            double tolerance) {
        CoreAttention core = CoreAttention.on(Device.CPU, pattern);
        Qkv qkv = new Qkv(exact.q().to(type), exact.k().to(type), exact.v().to(type));

        CoreAttention.Output output = core.forward(qkv, layout);
        Qkv gradients = core.backward(dOut.to(type), qkv, output, layout);

        List<Tensor> expected = plain.gradients();
        String what = type + ", documents " + layout.documents() + ": ";
        assertThat(TensorArrays.relative(output.out(), plain.output()))
                .as(what + "out")
                .isLessThan(tolerance);
        assertThat(TensorArrays.relative(gradients.q(), expected.get(0)))
                .as(what + "dq")
                .isLessThan(tolerance);
        assertThat(TensorArrays.relative(gradients.k(), expected.get(1)))
                .as(what + "dk")
                .isLessThan(tolerance);
        assertThat(TensorArrays.relative(gradients.v(), expected.get(2)))
                .as(what + "dv")
                .isLessThan(tolerance);
    }

    @ParameterizedTest(name = "{1} local blocks of {0}, {2} sinks")
    @CsvSource({"1,0,0", "1,3,0", "1,128,0", "1,3,2", "16,1,32"})
    void changingOneDocumentLeavesEveryBitOfTheOthers(int block, int local, int sinks) {
        SequenceLayout layout = LAYOUTS.get(1);
        int changed = 4; // tokens 44 to 174
        CoreAttention core = CoreAttention.on(Device.CPU, new AttentionPattern(block, local, sinks));
        try (TensorScope scope = TensorScope.open()) {
            Random random = new Random(local);
            Qkv before = floats(gaussian(random, layout.length(), 4, 2));
            Tensor dOut =
                    TensorArrays.gaussian(random, layout.length(), 4, SIZE).to(torch.ScalarType.Float);
            Qkv after =
                    new Qkv(before.q().clone(), before.k().clone(), before.v().clone());
            for (Tensor x : List.of(after.q(), after.k(), after.v())) {
                x.narrow(0, layout.start(changed), layout.length(changed)).normal_();
            }

            CoreAttention.Output first = core.forward(before, layout);
            CoreAttention.Output second = core.forward(after, layout);
            Qkv firstGradients = core.backward(dOut, before, first, layout);
            Qkv secondGradients = core.backward(dOut, after, second, layout);

            for (int d = 0; d < layout.documents(); d++) {
                boolean same = d != changed;
                assertThat(sameBits(first.out(), second.out(), layout, d)).isEqualTo(same);
                assertThat(sameBits(firstGradients.q(), secondGradients.q(), layout, d)
                                && sameBits(firstGradients.k(), secondGradients.k(), layout, d)
                                && sameBits(firstGradients.v(), secondGradients.v(), layout, d))
                        .as("gradients of document %d", d)
                        .isEqualTo(same);
            }
        }
    }

    private static boolean sameBits(Tensor a, Tensor b, SequenceLayout layout, int document) {
        return torch.equal(
                a.narrow(0, layout.start(document), layout.length(document)),
                b.narrow(0, layout.start(document), layout.length(document)));
    }

    private static Qkv gaussian(Random random, int tokens, int heads, int kvHeads) {
        return new Qkv(
                TensorArrays.gaussian(random, tokens, heads, SIZE),
                TensorArrays.gaussian(random, tokens, kvHeads, SIZE),
                TensorArrays.gaussian(random, tokens, kvHeads, SIZE));
    }

    private static Qkv floats(Qkv qkv) {
        return new Qkv(
                qkv.q().to(torch.ScalarType.Float),
                qkv.k().to(torch.ScalarType.Float),
                qkv.v().to(torch.ScalarType.Float));
    }
}
