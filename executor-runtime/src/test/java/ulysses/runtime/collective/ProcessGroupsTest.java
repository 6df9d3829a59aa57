package ulysses.runtime.collective;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.RankMesh;

@Timeout(60)
class ProcessGroupsTest {
    private static final RankMesh THREE = new RankMesh(3, 3);
    private static final Duration SHORT = Duration.ofSeconds(1);
    private static final Duration LONG = Duration.ofSeconds(4);

    @Test
    void aRankThatNeverComesIsNamed() throws Exception {
        CompletableFuture<Integer> port = new CompletableFuture<>();
        CompletableFuture<Void> rank0 = meetLater(rendezvous(0, 0, LONG), port);

        Rendezvous rank2 = rendezvous(2, port.get(20, TimeUnit.SECONDS), SHORT);

        assertThatThrownBy(() -> meet(rank2))
                .isInstanceOf(CollectiveException.class)
                .hasMessageContaining("rank 2 waited at 127.0.0.1:" + rank2.storePort() + " for 3 ranks, 1 s")
                .hasMessageContaining("missing: ranks [1]");
        assertThatThrownBy(() -> rank0.get(20, TimeUnit.SECONDS)).hasMessageContaining("missing: ranks [1]");
    }

    @Test
    void ranksThatLoseTheStoreSayWhereToLook() throws Exception {
        CompletableFuture<Integer> port = new CompletableFuture<>();
        CompletableFuture<Void> rank0 = meetLater(rendezvous(0, 0, SHORT), port);

        Rendezvous rank2 = rendezvous(2, port.get(20, TimeUnit.SECONDS), LONG);

        assertThatThrownBy(() -> meet(rank2))
                .isInstanceOf(CollectiveException.class)
                .hasMessageContaining("lost the store")
                .hasMessageContaining("Rank 0 gave up or ended");
        assertThatThrownBy(() -> rank0.get(20, TimeUnit.SECONDS)).hasMessageContaining("missing: ranks [1]");
    }

    @Test
    void ranksOfAnotherAttemptDoNotJoin() throws Exception {
        CompletableFuture<Integer> port = new CompletableFuture<>();
        CompletableFuture<Void> rank0 = meetLater(rendezvous(0, 0, LONG), port);
        int storePort = port.get(20, TimeUnit.SECONDS);
        CompletableFuture<Void> rank1 = meetLater(rendezvous(1, storePort, LONG), new CompletableFuture<>());
        Rendezvous zombie = new Rendezvous(
                2, THREE, "127.0.0.1", "127.0.0.1", storePort, "test/attempt-1", Device.CPU, 0, SHORT, SHORT);

        // On a busy machine rank 0 may have given up before the zombie has.
        assertThatThrownBy(() -> meet(zombie))
                .hasMessageMatching(
                        "(?s).*(missing: ranks \\[0, 1]|lost the store|can't reach the rendezvous store).*");
        assertThatThrownBy(() -> rank0.get(20, TimeUnit.SECONDS)).isInstanceOf(ExecutionException.class);
        assertThatThrownBy(() -> rank1.get(20, TimeUnit.SECONDS)).isInstanceOf(ExecutionException.class);
    }

    @Test
    void aStoreThatIsNotThereIsNamed() throws Exception {
        int closedPort = freePort();

        assertThatThrownBy(() -> meet(rendezvous(1, closedPort, SHORT)))
                .isInstanceOf(CollectiveException.class)
                .hasMessageContaining("rank 1 can't reach the rendezvous store at 127.0.0.1:" + closedPort)
                .hasMessageContaining("rank 0 still runs");
    }

    @Test
    void onlyRankZeroMayAskForAnyPort() {
        assertThatThrownBy(() -> rendezvous(1, 0, SHORT))
                .isInstanceOf(IllegalArgumentException.class)
                .hasMessageContaining("store port 0 at rank 1");
    }

    @Test
    void aRankThatDoesNotCallTheOperationIsNamedAfterTheTimeout() {
        RankMesh mesh = new RankMesh(3, 3);
        CountDownLatch over = new CountDownLatch(2);

        RankThreads.run(mesh, Duration.ofSeconds(4), groups -> {
            Collectives group = groups.sequenceParallel();
            if (group.rank() == 1) {
                assertThat(over.await(30, TimeUnit.SECONDS)).isTrue();
                return 1;
            }
            long start = System.nanoTime();
            Collectives.Pending sum = group.allReduceSum(torch.ones(10));
            assertThatThrownBy(sum::await)
                    .isInstanceOf(CollectiveException.class)
                    .hasMessageContaining("all-reduce number 1 in sequence-parallel group 0 of 1")
                    .hasMessageContaining("rank " + group.rank())
                    .hasMessageContaining("at most 4 s, 40 bytes")
                    .hasMessageContaining("Not waiting there: world ranks [1]");
            assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(8));
            assertThatThrownBy(sum::await).hasMessageContaining("all-reduce number 1");
            sum.close();
            over.countDown();
            return 0;
        });
    }

    @Test
    void everyOperationEndsWithTheTimeoutWhenAPeerIsMissing() {
        RankMesh mesh = new RankMesh(2, 2);
        Duration timeout = Duration.ofSeconds(1);
        Consumer<Collectives> allToAll =
                group -> group.allToAll(torch.empty(2), torch.ones(2), new long[] {1, 1}, new long[] {1, 1})
                        .await();
        Consumer<Collectives> reduceScatter =
                group -> group.reduceScatterSum(torch.empty(2), torch.ones(4)).await();
        Consumer<Collectives> allGather =
                group -> group.allGather(torch.empty(4), torch.ones(2)).await();
        Consumer<Collectives> broadcast =
                group -> group.broadcast(torch.ones(4), 1).await();

        for (Consumer<Collectives> operation :
                List.of(allToAll, reduceScatter, allGather, broadcast, Collectives::barrier)) {
            CountDownLatch over = new CountDownLatch(1);
            RankThreads.run(mesh, timeout, groups -> {
                if (groups.world().rank() == 1) {
                    assertThat(over.await(30, TimeUnit.SECONDS)).isTrue();
                    return 1;
                }
                long start = System.nanoTime();
                assertThatThrownBy(() -> operation.accept(groups.world()))
                        .isInstanceOf(CollectiveException.class)
                        .hasMessageContaining("world ranks [1]");
                assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(5));
                over.countDown();
                return 0;
            });
        }
    }

    @Test
    void aRankThatEndsFailsTheOthersAtOnce() {
        long start = System.nanoTime();

        assertThatThrownBy(() -> RankThreads.forEachRank(3, groups -> {
                    Collectives group = groups.sequenceParallel();
                    group.allReduceSum(torch.ones(10)).await();
                    if (group.rank() == 2) {
                        throw new IOException("disk full");
                    }
                    assertThatThrownBy(() -> group.allReduceSum(torch.ones(10)).await())
                            .isInstanceOf(CollectiveException.class)
                            .hasMessageContaining("all-reduce number 2")
                            .hasMessageContaining("A rank of the group has ended");
                }))
                .isInstanceOf(IOException.class)
                .hasMessage("disk full");

        // The operation timeout is 20 s.
        assertThat(Duration.ofNanos(System.nanoTime() - start)).isLessThan(Duration.ofSeconds(15));
    }

    @Test
    void closedGroupsRefuseWork() {
        RankThreads.forEachRank(2, groups -> {
            Collectives world = groups.world();
            groups.close();
            groups.close();

            assertThatThrownBy(world::barrier)
                    .isInstanceOf(IllegalStateException.class)
                    .hasMessageContaining("barrier after world was closed");
        });
    }

    @Test
    void openingAndClosingLeavesNoConnectionBehind() throws Exception {
        RankThreads.forEachRank(2, groups -> groups.world().barrier());
        long before = openFiles();

        for (int i = 0; i < 20; i++) {
            RankThreads.forEachRank(2, groups -> groups.world().barrier());
        }

        assertThat(openFiles()).isLessThan(before + 10);
        assertThat(TensorScope.openScopes()).isZero();
    }

    private static Rendezvous rendezvous(int rank, int storePort, Duration timeout) {
        return RankThreads.rendezvous(rank, THREE, storePort, timeout);
    }

    private static void meet(Rendezvous rendezvous) {
        ProcessGroups.open(rendezvous, port -> {}).close();
    }

    private static CompletableFuture<Void> meetLater(Rendezvous rendezvous, CompletableFuture<Integer> port) {
        CompletableFuture<Void> met = new CompletableFuture<>();
        Thread thread = new Thread(() -> {
            try (ProcessGroups groups = ProcessGroups.open(rendezvous, port::complete)) {
                met.complete(null);
            } catch (RuntimeException e) {
                met.completeExceptionally(e);
            }
        });
        thread.setDaemon(true);
        thread.start();
        return met;
    }

    private static long openFiles() throws IOException {
        try (var files = Files.list(Path.of("/proc/self/fd"))) {
            return files.count();
        }
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0)) {
            return socket.getLocalPort();
        }
    }
}
