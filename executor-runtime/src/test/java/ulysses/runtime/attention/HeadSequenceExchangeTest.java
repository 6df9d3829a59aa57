package ulysses.runtime.attention;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.List;
import java.util.Random;
import java.util.stream.IntStream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.attention.HeadSequenceExchange.Arriving;
import ulysses.runtime.attention.HeadSequenceExchange.Qkv;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.collective.RankThreads;
import ulysses.runtime.collective.SingleRank;
import ulysses.runtime.memory.TensorArrays;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.HeadLayout;

/**
 * Every cell carries its own coordinates, {@code kind * 1000000 + token * 1000 + head * 10 + i}, so that a misplaced block shows. Which
 * heads a rank gets is worked out here once more, from the rule alone.
 */
final class HeadSequenceExchangeTest {

    private static final int TOKENS = 12; // S, a multiple of every P
    private static final int SIZE = 3; // H
    private static final int[][] RATIOS = {{8, 8}, {8, 2}, {8, 1}, {6, 2}, {7, 1}, {14, 2}, {28, 4}};

    private static final int Q = 0;
    private static final int K = 1;
    private static final int V = 2;
    private static final int OUTPUT = 3;

    /** N over K heads, split over {@code ranks}. */
    private record Split(int queryHeads, int kvHeads, int ranks) {

        int[] allQueries() {
            return IntStream.range(0, queryHeads).toArray();
        }

        int[] allKvs() {
            return IntStream.range(0, kvHeads).toArray();
        }

        /** Ranks take their query heads in order, the first N mod P of them one more. */
        int[] queriesOf(int rank) {
            int first = 0;
            for (int r = 0; r < rank; r++) {
                first += count(r);
            }
            return IntStream.range(first, first + count(rank)).toArray();
        }

        private int count(int rank) {
            return queryHeads / ranks + (rank < queryHeads % ranks ? 1 : 0);
        }

        /** Exactly those that the rank's query heads read: head j reads floor(j K / N). */
        int[] kvsOf(int rank) {
            return IntStream.of(queriesOf(rank))
                    .map(j -> j * kvHeads / queryHeads)
                    .distinct()
                    .toArray();
        }

        /** How many ranks hold kv head {@code kv}. */
        long copies(int kv) {
            return IntStream.range(0, ranks)
                    .filter(r -> IntStream.of(kvsOf(r)).anyMatch(held -> held == kv))
                    .count();
        }
    }

    /** What each rank of a group does with one split of the heads. */
    private interface SplitCheck {
        void check(Split split, HeadSequenceExchange exchange, Collectives group);
    }

    private static void forEachSplit(int ranks, SplitCheck check) {
        RankThreads.forEachRank(ranks, groups -> {
            for (int[] ratio : RATIOS) {
                Collectives group = groups.sequenceParallel();
                HeadLayout layout = new HeadLayout(ratio[0], ratio[1], ranks);
                try (TensorScope scope = TensorScope.open()) {
                    check.check(
                            new Split(ratio[0], ratio[1], ranks), new HeadSequenceExchange(layout, group, true), group);
                }
            }
        });
    }

    @ParameterizedTest(name = "P = {0}")
    @ValueSource(ints = {1, 2, 3, 4})
    void headScatterGivesEachRankAllTokensOfItsHeads(int ranks) {
        forEachSplit(ranks, (split, exchange, group) -> {
            Qkv global = exchange.scatterHeads(local(split, group.rank()));

            int[] kvs = split.kvsOf(group.rank());
            same(split + " q", global.q(), cells(Q, 0, TOKENS, split.queriesOf(group.rank())));
            same(split + " k", global.k(), cells(K, 0, TOKENS, kvs));
            same(split + " v", global.v(), cells(V, 0, TOKENS, kvs));
        });
    }

    @ParameterizedTest(name = "P = {0}")
    @ValueSource(ints = {2, 3, 4})
    void valuesThatWereSentFirstArriveAsAllTogether(int ranks) {
        forEachSplit(ranks, (split, exchange, group) -> {
            Qkv local = local(split, group.rank());
            Qkv together = exchange.scatterHeads(local);

            try (Arriving values = exchange.sendValues(local.v())) {
                Qkv apart = exchange.scatterHeads(local.q(), local.k(), values);

                assertThat(torch.equal(apart.q(), together.q()))
                        .as(split + " q")
                        .isTrue();
                assertThat(torch.equal(apart.k(), together.k()))
                        .as(split + " k")
                        .isTrue();
                assertThat(torch.equal(apart.v(), together.v()))
                        .as(split + " v")
                        .isTrue();
            }
        });
    }

    @ParameterizedTest(name = "P = {0}")
    @ValueSource(ints = {1, 2, 3, 4})
    void headGatherGivesEachRankAllHeadsOfItsTokens(int ranks) {
        forEachSplit(ranks, (split, exchange, group) -> {
            Tensor output = cells(OUTPUT, 0, TOKENS, split.queriesOf(group.rank())); // [S,n,H]

            Tensor local = exchange.gatherOutputHeads(output);

            int part = TOKENS / ranks;
            same(split + " output", local, cells(OUTPUT, group.rank() * part, part, split.allQueries()));
        });
    }

    @ParameterizedTest(name = "P = {0}")
    @ValueSource(ints = {1, 2, 3, 4})
    void thereAndBackIsTheSame(int ranks) {
        forEachSplit(ranks, (split, exchange, group) -> {
            Qkv local = local(split, group.rank());
            Tensor output = cells(OUTPUT, 0, TOKENS, split.queriesOf(group.rank()));

            same(
                    split + " q",
                    exchange.gatherOutputHeads(exchange.scatterHeads(local).q()),
                    local.q());
            same(split + " out", exchange.scatterOutputGradient(exchange.gatherOutputHeads(output)), output);
        });
    }

    @ParameterizedTest(name = "P = {0}")
    @ValueSource(ints = {1, 2, 3, 4})
    void backwardSumsTheCopiesOfAKvHead(int ranks) {
        forEachSplit(ranks, (split, exchange, group) -> {
            Qkv local = local(split, group.rank());

            Qkv back = exchange.gatherHeadGradients(exchange.scatterHeads(local));

            Tensor copies = TensorArrays.tensor(
                    IntStream.of(split.allKvs()).mapToDouble(split::copies).toArray(), 1, split.kvHeads(), 1);
            same(split + " dq", back.q(), local.q());
            same(split + " dk", back.k(), local.k().mul(copies));
            same(split + " dv", back.v(), local.v().mul(copies));
        });
    }

    @ParameterizedTest(name = "P = {0}")
    @ValueSource(ints = {1, 2, 3, 4})
    void backwardIsTheTransposeOfForward(int ranks) {
        forEachSplit(ranks, (split, exchange, group) -> {
            Random random = new Random(1000L * split.queryHeads() + group.rank());
            int part = TOKENS / ranks;
            int n = split.queriesOf(group.rank()).length;
            Qkv x = gaussian(random, part, split.queryHeads(), split.kvHeads());
            Qkv y = gaussian(random, TOKENS, n, split.kvsOf(group.rank()).length);
            Tensor out = TensorArrays.gaussian(random, TOKENS, n, SIZE);
            Tensor dOut = TensorArrays.gaussian(random, part, split.queryHeads(), SIZE);

            // <A x, y> = <x, A' y>, both summed over all ranks.
            double forward = sum(group, innerProduct(exchange.scatterHeads(x), y));
            double backward = sum(group, innerProduct(x, exchange.gatherHeadGradients(y)));
            double outForward = sum(group, TensorArrays.innerProduct(exchange.gatherOutputHeads(out), dOut));
            double outBackward = sum(group, TensorArrays.innerProduct(out, exchange.scatterOutputGradient(dOut)));

            assertThat(backward).as("%s qkv", split).isCloseTo(forward, within(1e-10));
            assertThat(outBackward).as("%s output", split).isCloseTo(outForward, within(1e-10));
        });
    }

    @Test
    void refusesAGroupThatTheHeadsAreNotLaidOutFor() {
        assertThatThrownBy(() -> new HeadSequenceExchange(new HeadLayout(8, 2, 4), new SingleRank("one"), true))
                .hasMessage("heads are laid out for 4 ranks, the group has 1");
    }

    @Test
    void refusesMoreRanksThanQueryHeads() {
        assertThatThrownBy(() -> new HeadLayout(7, 1, 8))
                .hasMessage("num_attention_heads 7 can't be split over sequence_parallel_size 8; use at most 7");
        assertThatThrownBy(() -> new HeadLayout(8, 3, 2))
                .hasMessage("num_attention_heads 8 is not a multiple of num_key_value_heads 3");
    }

    @ParameterizedTest(name = "P = {0}")
    @ValueSource(ints = {1, 2, 3, 4, 5, 6})
    void everyQueryHeadFindsItsKvHead(int ranks) {
        for (int[] ratio : RATIOS) {
            Split split = new Split(ratio[0], ratio[1], ranks);
            HeadLayout layout = new HeadLayout(ratio[0], ratio[1], ranks);
            for (int r = 0; r < ranks; r++) {
                int[] held = split.kvsOf(r);
                List<Integer> map = layout.kvOfQueries(r);
                int[] queries = split.queriesOf(r);
                for (int j = 0; j < queries.length; j++) {
                    assertThat(held[map.get(j)]).isEqualTo(queries[j] * ratio[1] / ratio[0]);
                }
            }
        }
    }

    private static Qkv local(Split split, int rank) {
        int part = TOKENS / split.ranks();
        return new Qkv(
                cells(Q, rank * part, part, split.allQueries()),
                cells(K, rank * part, part, split.allKvs()),
                cells(V, rank * part, part, split.allKvs()));
    }

    private static Tensor cells(int kind, int firstToken, int tokens, int[] heads) {
        double[] values = new double[tokens * heads.length * SIZE];
        int next = 0;
        for (int t = firstToken; t < firstToken + tokens; t++) {
            for (int head : heads) {
                for (int i = 0; i < SIZE; i++) {
                    values[next++] = kind * 1_000_000 + t * 1000 + head * 10 + i;
                }
            }
        }
        return TensorArrays.tensor(values, tokens, heads.length, SIZE);
    }

    private static Qkv gaussian(Random random, int tokens, int queries, int kvs) {
        return new Qkv(
                TensorArrays.gaussian(random, tokens, queries, SIZE),
                TensorArrays.gaussian(random, tokens, kvs, SIZE),
                TensorArrays.gaussian(random, tokens, kvs, SIZE));
    }

    private static double innerProduct(Qkv a, Qkv b) {
        return TensorArrays.innerProduct(a.q(), b.q())
                + TensorArrays.innerProduct(a.k(), b.k())
                + TensorArrays.innerProduct(a.v(), b.v());
    }

    private static double sum(Collectives group, double value) {
        return group.allReduceSum(TensorArrays.tensor(new double[] {value}, 1))
                .await()
                .item_double();
    }

    private static void same(String what, Tensor actual, Tensor expected) {
        assertThat(actual.sizes().vec().get())
                .as(what)
                .isEqualTo(expected.sizes().vec().get());
        assertThat(torch.equal(actual, expected))
                .as(() -> what + " lies elsewhere")
                .isTrue();
    }
}
