package ulysses.runtime.objective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.memory.NativeRuntime;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.segment.Autograd;
import ulysses.runtime.segment.Parameter;

/** Against log-softmax over all logits at once in float64, tile by tile and through the objective that skips ignored labels. */
final class TiledCrossEntropyTest {
    static {
        NativeRuntime.start(1);
    }

    private static final int TOKENS = 25; // m, no multiple of a tile but 1
    private static final int HIDDEN = 8; // D
    private static final int VOCABULARY = 37; // V
    private static final double SCALE = 1.0 / 60; // other ranks have tokens, too

    /** Hidden states, a head whose gradient holds something already, and targets. */
    @SuppressWarnings("ArrayRecordComponent") // a carrier, never compared
    private record Case(Tensor hidden, Parameter head, int[] targets, Tensor headGradientBefore) {
        static Case random() {
            Random random = new Random(9);
            Tensor weight = TensorArrays.gaussian(random, VOCABULARY, HIDDEN).to(torch.ScalarType.Float);
            Tensor gradient = TensorArrays.gaussian(random, VOCABULARY, HIDDEN)
                    .mul(new Scalar(0.01))
                    .to(torch.ScalarType.Float);
            return new Case(
                    TensorArrays.gaussian(random, TOKENS, HIDDEN).to(torch.ScalarType.Float),
                    Parameter.trained("head", weight, gradient),
                    random.ints(TOKENS, 0, VOCABULARY).toArray(),
                    gradient.clone());
        }

        Tensor headGradient() {
            return head.gradient().sub(headGradientBefore);
        }

        /** Sum of the loss, and gradients of {@link #SCALE} times it. */
        Autograd.Result plain(int... rows) {
            Tensor index = longs(rows);
            Tensor wanted = longs(IntStream.of(rows).map(t -> targets[t]).toArray());
            return Autograd.of(
                    leaves -> {
                        Tensor logits = leaves.get(0)
                                .index_select(0, index)
                                .matmul(leaves.get(1).t());
                        return torch.log_softmax(logits, 1)
                                .gather(1, wanted.unsqueeze(1))
                                .sum()
                                .neg()
                                .view(1);
                    },
                    List.of(hidden.to(torch.ScalarType.Double), head.value().to(torch.ScalarType.Double)),
                    TensorArrays.tensor(new double[] {SCALE}, 1));
        }
    }

    @ParameterizedTest(name = "{0} rows a tile")
    @ValueSource(ints = {1, 7, 16, 25, 1000})
    void anyTileSizeGivesLossAndBothGradients(int tileRows) {
        try (TensorScope scope = TensorScope.open()) {
            Case test = Case.random();
            TiledCrossEntropy tiled = new TiledCrossEntropy(test.head(), tileRows);
            Tensor dHidden = torch.full(new long[] {TOKENS, HIDDEN}, new Scalar(Double.NaN))
                    .to(torch.ScalarType.Float);

            double loss = tiled.lossSumAndGradients(test.hidden(), longs(test.targets()), SCALE, dHidden);

            Autograd.Result plain = test.plain(IntStream.range(0, TOKENS).toArray());
            assertThat(loss).isCloseTo(plain.output().item_double(), within(1e-5));
            assertThat(tiled.lossSum(test.hidden(), longs(test.targets()))).isCloseTo(loss, within(1e-5));
            assertThat(TensorArrays.relative(dHidden, plain.gradients().get(0))).isLessThan(1e-6);
            assertThat(TensorArrays.relative(
                            test.headGradient(), plain.gradients().get(1)))
                    .isLessThan(1e-5); // a float32 sum on top of what was there
        }
    }

    @Test
    void ignoredLabelsGetNoLossAndNoGradient() {
        try (TensorScope scope = TensorScope.open()) {
            Case test = Case.random();
            int[] counting = {0, 3, 4, 11, 24};
            int[] targets = new int[TOKENS];
            Arrays.fill(targets, PackedRow.IGNORE_INDEX);
            for (int t : counting) {
                targets[t] = test.targets()[t];
            }
            NextToken objective = new NextToken(test.head());

            Objective.Outcome outcome = objective.lossAndGradient(part(test, targets), Math.round(1 / SCALE));

            Autograd.Result plain = test.plain(counting);
            assertThat(outcome.sums().loss()).isCloseTo(plain.output().item_double(), within(1e-5));
            assertThat(objective.sums(part(test, targets)).loss())
                    .isCloseTo(outcome.sums().loss(), within(1e-5));
            assertThat(TensorArrays.relative(
                            outcome.dHidden(), plain.gradients().get(0)))
                    .isLessThan(1e-6);
            assertThat(TensorArrays.relative(
                            test.headGradient(), plain.gradients().get(1)))
                    .isLessThan(1e-5);
            assertThat(outcome.dHidden().select(0, 1).abs().max().item_double()).isZero();
        }
    }

    @Test
    void aRankWithoutLabelsContributesExactlyZero() {
        try (TensorScope scope = TensorScope.open()) {
            Case test = Case.random();
            int[] ignored = new int[TOKENS];
            Arrays.fill(ignored, PackedRow.IGNORE_INDEX);
            NextToken objective = new NextToken(test.head());

            Objective.Outcome outcome = objective.lossAndGradient(part(test, ignored), 60);

            assertThat(outcome.sums().loss()).isZero();
            assertThat(objective.sums(part(test, ignored)).loss()).isZero();
            assertThat(outcome.dHidden().abs().max().item_double()).isZero();
            assertThat(torch.equal(test.head().gradient(), test.headGradientBefore()))
                    .isTrue();
        }
    }

    /** All tokens as one document on one rank; only hidden states and targets matter here. */
    private static Objective.Part part(Case test, int[] targets) {
        MicroBatch batch = new MicroBatch(
                targets,
                targets,
                targets,
                new int[] {0, targets.length},
                new long[targets.length],
                targets.length,
                targets.length);
        return new Objective.Part(batch, batch.slice(0, 1), new double[0], test.hidden());
    }

    private static Tensor longs(int... values) {
        return torch.tensor(values).to(torch.ScalarType.Long);
    }
}
