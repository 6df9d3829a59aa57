package ulysses.runtime.collective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.List;
import java.util.stream.DoubleStream;
import java.util.stream.LongStream;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.collective.Collectives.Operation;
import ulysses.runtime.memory.DeviceMemory;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.RankMesh;

class CollectivesTest {
    private static final List<ScalarType> DTYPES =
            List.of(ScalarType.Float, ScalarType.BFloat16, ScalarType.Double, ScalarType.Long);

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4})
    void allToAllSendsEachRowToItsRank(int ranks) {
        RankThreads.forEachRank(ranks, groups -> {
            Collectives group = groups.sequenceParallel();
            long[] inSplits =
                    LongStream.range(0, ranks).map(to -> rows(group.rank(), to)).toArray();
            long[] outSplits = LongStream.range(0, ranks)
                    .map(from -> rows(from, group.rank()))
                    .toArray();
            for (ScalarType dtype : DTYPES) {
                Tensor in = sentBy(group.rank(), inSplits, dtype);
                Tensor out = torch.zeros(new long[] {sum(outSplits), 2}, new TensorOptions(dtype));

                Tensor received = group.allToAll(out, in, outSplits, inSplits).await();

                assertThat(values(received)).as("%s", dtype).isEqualTo(receivedBy(group.rank(), outSplits));
            }
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4})
    void allReduceSumsAndTakesMaximaOverRanks(int ranks) {
        RankThreads.forEachRank(ranks, groups -> {
            Collectives group = groups.sequenceParallel();
            for (ScalarType dtype : DTYPES) {
                Tensor sum = coordinates(group.rank(), 5, dtype);
                Tensor max = coordinates(group.rank(), 5, dtype);

                group.allReduceSum(sum).await();
                group.allReduceMax(max).await();

                for (int i = 0; i < 5; i++) {
                    int element = i;
                    double[] all = LongStream.range(0, ranks)
                            .mapToDouble(r -> value(r, element))
                            .toArray();
                    assertThat(values(sum)[i])
                            .as("%s", dtype)
                            .isEqualTo(DoubleStream.of(all).sum());
                    assertThat(values(max)[i]).as("%s", dtype).isEqualTo(all[ranks - 1]);
                }
            }
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4})
    void reduceScatterLeavesEachRankItsPartOfTheSum(int ranks) {
        RankThreads.forEachRank(ranks, groups -> {
            Collectives group = groups.sequenceParallel();
            for (ScalarType dtype : DTYPES) {
                Tensor in = coordinates(group.rank(), 3 * ranks, dtype).view(ranks, 3); // [P, 3]
                Tensor out = torch.zeros(new long[] {3}, new TensorOptions(dtype));

                group.reduceScatterSum(out, in).await();

                for (int i = 0; i < 3; i++) {
                    int element = group.rank() * 3 + i;
                    double sum = LongStream.range(0, ranks)
                            .mapToDouble(r -> value(r, element))
                            .sum();
                    assertThat(values(out)[i]).as("%s", dtype).isEqualTo(sum);
                }
            }
        });
    }

    @Test
    void reduceScatterRoundsBfloat16Once() {
        RankThreads.forEachRank(4, groups -> {
            Collectives group = groups.sequenceParallel();
            double mine = group.rank() == 0 ? 256 : 1;
            Tensor in = torch.full(new long[] {4}, new Scalar(mine)).to(ScalarType.BFloat16);
            Tensor out = torch.zeros(new long[] {1}, new TensorOptions(ScalarType.BFloat16));

            group.reduceScatterSum(out, in).await();

            // 259 between 258 and 260; adding one after the other would stay at 256.
            assertThat(values(out)[0]).isEqualTo(260);
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4})
    void allGatherPutsPartsInOrderOfRanks(int ranks) {
        RankThreads.forEachRank(ranks, groups -> {
            Collectives group = groups.sequenceParallel();
            for (ScalarType dtype : DTYPES) {
                Tensor in = coordinates(group.rank(), 3, dtype);
                Tensor out = torch.zeros(new long[] {ranks, 3}, new TensorOptions(dtype));

                group.allGather(out, in).await();

                for (int i = 0; i < 3 * ranks; i++) {
                    assertThat(values(out)[i]).as("%s", dtype).isEqualTo(value(i / 3, i % 3));
                }
            }
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 4})
    void broadcastGivesAllRanksTheRootsTensor(int ranks) {
        RankThreads.forEachRank(ranks, groups -> {
            Collectives group = groups.sequenceParallel();
            for (int root = 0; root < ranks; root++) {
                Tensor tensor = coordinates(group.rank(), 3, ScalarType.BFloat16);

                group.broadcast(tensor, root).await();

                assertThat(values(tensor)).isEqualTo(values(coordinates(root, 3, ScalarType.Float)));
            }
            group.barrier();
        });
    }

    @Test
    void groupsOfAMeshDoNotMix() {
        RankMesh mesh = new RankMesh(4, 2);

        List<double[]> sums = RankThreads.run(mesh, groups -> {
            double worldRank = groups.world().rank();
            Tensor world = torch.full(new long[] {1}, new Scalar(worldRank));
            Tensor sequence = torch.full(new long[] {1}, new Scalar(worldRank));
            Tensor data = torch.full(new long[] {1}, new Scalar(worldRank));
            groups.world().allReduceSum(world).await();
            groups.sequenceParallel().allReduceSum(sequence).await();
            groups.dataParallel().allReduceSum(data).await();
            return new double[] {values(world)[0], values(sequence)[0], values(data)[0]};
        });

        assertThat(sums)
                .containsExactly(
                        new double[] {6, 1, 2}, new double[] {6, 1, 4}, new double[] {6, 5, 2}, new double[] {6, 5, 4});
    }

    @Test
    void operationsInFlightKeepTheirBuffers() {
        RankThreads.forEachRank(2, groups -> {
            Collectives group = groups.sequenceParallel();
            Tensor first = coordinates(group.rank(), 100_000, ScalarType.Float);
            Tensor second = coordinates(group.rank(), 100_000, ScalarType.Float);
            Tensor gathered = torch.empty(200_000);

            try (Collectives.Pending sum = group.allReduceSum(first);
                    Collectives.Pending gather = group.allGather(gathered, second)) {
                second.close();
                assertThat(values(gather.await())[100_001]).isEqualTo(value(1, 1));
                assertThat(values(sum.await())[1]).isEqualTo(value(0, 1) + value(1, 1));
            }
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 4})
    void countsBytesByTheFormula(int ranks) {
        RankThreads.forEachRank(ranks, groups -> {
            Collectives group = groups.sequenceParallel();
            long n = 64;
            long p = ranks;
            long[] splits = new long[ranks];
            Arrays.fill(splits, n / ranks);
            group.allToAll(torch.empty(n, 3), torch.ones(n, 3), splits, splits).await();
            group.allReduceSum(torch.ones(n)).await();
            group.allGather(torch.empty(n * p), torch.ones(n)).await();
            group.reduceScatterSum(torch.empty(n), torch.ones(n * p)).await();

            assertThat(group.traffic().total(Operation.ALL_TO_ALL)).isEqualTo(n * 3 * 4);
            assertThat(group.bytesSent(Operation.ALL_TO_ALL)).isEqualTo(n * 3 * 4 * (ranks - 1) / ranks);
            assertThat(group.bytesSent(Operation.ALL_REDUCE)).isEqualTo(2 * n * 4 * (ranks - 1) / ranks);
            assertThat(group.bytesSent(Operation.ALL_GATHER)).isEqualTo(n * 4 * (ranks - 1));
            assertThat(group.bytesSent(Operation.REDUCE_SCATTER)).isEqualTo(n * 4 * (ranks - 1));
            assertThat(group.traffic().calls(Operation.ALL_TO_ALL)).isEqualTo(1);
        });
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void refusesCallsThatDoNotFit(int ranks) {
        RankThreads.forEachRank(ranks, groups -> {
            Collectives group = groups.sequenceParallel();
            long[] splits = new long[ranks];
            Arrays.fill(splits, 2);
            long rows = 2L * ranks;

            assertThatThrownBy(() -> group.allToAll(torch.empty(rows), torch.ones(9), splits, splits))
                    .isInstanceOf(IllegalArgumentException.class)
                    .hasMessageContaining("input splits")
                    .hasMessageContaining("9 rows");
            assertThatThrownBy(() -> group.allToAll(torch.empty(rows, 5), torch.ones(rows, 4), splits, splits))
                    .hasMessageContaining("rows differ: output [%d, 5], input [%d, 4]", rows, rows);
            assertThatThrownBy(() -> group.allReduceSum(torch.ones(2, 3).t())).hasMessageContaining("not contiguous");
            assertThatThrownBy(() -> group.allGather(torch.empty(5), torch.ones(3)))
                    .hasMessageContaining("must be %d times", ranks);
            assertThatThrownBy(() -> group.reduceScatterSum(
                            torch.zeros(new long[] {3}, new TensorOptions(ScalarType.Double)), torch.ones(3L * ranks)))
                    .hasMessageContaining("dtypes differ: Float and Double");
            assertThatThrownBy(() -> group.broadcast(torch.ones(3), ranks)).hasMessageContaining("root");
        });
    }

    @Test
    void holdsMemoryLevelOverManyOperations() {
        DeviceMemory memory = DeviceMemory.host();
        long mib = 1 << 20;
        RankThreads.forEachRank(2, groups -> {
            Collectives group = groups.sequenceParallel();
            operations(group, 50);
            group.barrier();
            long before = memory.current();

            operations(group, 500);

            group.barrier();
            // One leaked tensor of 1 MiB an operation would be 1000 MiB over both ranks.
            assertThat(memory.current() - before).isLessThan(100 * mib);
        });
    }

    private static void operations(Collectives group, int count) {
        for (int i = 0; i < count; i++) {
            try (var scope = TensorScope.open()) {
                Tensor x = torch.ones(1 << 18);
                long[] splits = {1 << 17, 1 << 17};
                group.allToAll(torch.empty(1 << 18), x, splits, splits).await();
                group.reduceScatterSum(torch.empty(1 << 17), x).await();
                group.allReduceSum(x).await();
            }
        }
    }

    /** Rows that {@code from} sends to {@code to}: all different, some 0. */
    private static long rows(long from, long to) {
        return (2 * from + 3 * to + 1) % 5;
    }

    /** Rows of two columns: who sends to whom, and which row it is. */
    private static Tensor sentBy(int rank, long[] splits, ScalarType dtype) {
        Tensor rows = torch.zeros(new long[] {sum(splits), 2}, new TensorOptions(ScalarType.Double));
        DoublePointer data = rows.data_ptr_double();
        long i = 0;
        for (int to = 0; to < splits.length; to++) {
            for (int row = 0; row < splits[to]; row++) {
                data.put(i++, rank * 10 + to);
                data.put(i++, row);
            }
        }
        return rows.to(dtype);
    }

    private static double[] receivedBy(int rank, long[] splits) {
        return LongStream.range(0, splits.length)
                .boxed()
                .flatMapToDouble(from -> LongStream.range(0, splits[from.intValue()])
                        .boxed()
                        .flatMapToDouble(row -> DoubleStream.of((double) (from * 10 + rank), (double) row)))
                .toArray();
    }

    /** Exact in bfloat16, sums of four ranks included. */
    private static double value(long rank, long element) {
        return (double) (rank * 16 + element % 16);
    }

    private static Tensor coordinates(int rank, int length, ScalarType dtype) {
        return torch.arange(new Scalar(length))
                .remainder(new Scalar(16))
                .add(new Scalar(rank * 16))
                .to(dtype);
    }

    private static double[] values(Tensor tensor) {
        Tensor doubles = tensor.to(ScalarType.Double).contiguous();
        double[] values = new double[Math.toIntExact(doubles.numel())];
        doubles.data_ptr_double().get(values);
        return values;
    }

    private static long sum(long[] values) {
        return Arrays.stream(values).sum();
    }
}
