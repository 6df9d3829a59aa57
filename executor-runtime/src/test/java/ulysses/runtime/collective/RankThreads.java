package ulysses.runtime.collective;

import static org.assertj.core.api.Assertions.assertThat;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicReference;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.memory.NativeRuntime;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.mesh.RankMesh;

/**
 * Fixture: the ranks of a mesh as threads of this JVM, over Gloo. The first failure of any rank is thrown; the others then end
 * because their peer is gone. Work runs in a tensor scope of its own, and must leave no other scope open.
 */
public final class RankThreads {
    static {
        NativeRuntime.start(1);
    }

    private static final Duration OPERATION_TIMEOUT = Duration.ofSeconds(20);
    private static final Duration RUN_TIMEOUT = Duration.ofMinutes(2);

    /** What each rank does; a tensor in the result must be owned ({@link TensorScope#own}). */
    @FunctionalInterface
    public interface RankWork<T> {
        T run(ProcessGroups groups) throws Exception;
    }

    /** As {@link RankWork}, without a result. */
    @FunctionalInterface
    public interface RankCheck {
        void run(ProcessGroups groups) throws Exception;
    }

    private RankThreads() {}

    /** Runs {@code check} on one sequence-parallel group of {@code ranks} ranks. */
    public static void forEachRank(int ranks, RankCheck check) {
        forEachRank(new RankMesh(ranks, ranks), check);
    }

    /** Runs {@code check} on all ranks of {@code mesh}. */
    public static void forEachRank(RankMesh mesh, RankCheck check) {
        run(mesh, groups -> {
            check.run(groups);
            return groups.world().rank();
        });
    }

    /** Runs {@code work} on one sequence-parallel group of {@code ranks} ranks; results in order of ranks. */
    public static <T> List<T> run(int ranks, RankWork<T> work) {
        return run(new RankMesh(ranks, ranks), work);
    }

    /** Runs {@code work} on all ranks of {@code mesh}; results in order of world ranks. */
    public static <T> List<T> run(RankMesh mesh, RankWork<T> work) {
        return run(mesh, OPERATION_TIMEOUT, work);
    }

    /** As {@link #run(RankMesh, RankWork)} with a timeout for each operation. */
    public static <T> List<T> run(RankMesh mesh, Duration operationTimeout, RankWork<T> work) {
        AtomicReference<Throwable> firstFailure = new AtomicReference<>();
        CompletableFuture<Integer> port = new CompletableFuture<>();
        ExecutorService threads = Executors.newFixedThreadPool(mesh.worldSize(), task -> {
            Thread thread = new Thread(task, "rank");
            thread.setDaemon(true);
            return thread;
        });
        try {
            List<Future<T>> results = new ArrayList<>();
            for (int rank = 0; rank < mesh.worldSize(); rank++) {
                int worldRank = rank;
                results.add(threads.submit(() -> {
                    try {
                        return runRank(worldRank, mesh, port, operationTimeout, work);
                    } catch (Throwable e) {
                        firstFailure.compareAndSet(null, e);
                        port.completeExceptionally(e);
                        throw e;
                    }
                }));
            }
            return collect(results, firstFailure);
        } finally {
            threads.shutdownNow();
        }
    }

    private static <T> T runRank(
            int rank, RankMesh mesh, CompletableFuture<Integer> port, Duration timeout, RankWork<T> work)
            throws Exception {
        Thread.currentThread().setName("rank-" + rank);
        torch.set_num_threads(1);
        int storePort = rank == 0 ? 0 : port.get(RUN_TIMEOUT.toSeconds(), TimeUnit.SECONDS);
        Rendezvous rendezvous = rendezvous(rank, mesh, storePort, timeout);
        try (ProcessGroups groups = ProcessGroups.open(rendezvous, port::complete);
                TensorScope scope = TensorScope.open()) {
            T result = work.run(groups);
            assertThat(TensorScope.openScopes())
                    .as("scopes open after rank %d's work", rank)
                    .isEqualTo(1);
            return result;
        }
    }

    static Rendezvous rendezvous(int rank, RankMesh mesh, int storePort, Duration timeout) {
        return new Rendezvous(rank, mesh, "127.0.0.1", "127.0.0.1", storePort, "test", Device.CPU, 0, timeout, timeout);
    }

    private static <T> List<T> collect(List<Future<T>> futures, AtomicReference<Throwable> firstFailure) {
        List<T> results = new ArrayList<>();
        for (Future<T> future : futures) {
            try {
                results.add(future.get(RUN_TIMEOUT.toSeconds(), TimeUnit.SECONDS));
            } catch (ExecutionException e) {
                sneakyThrow(Objects.requireNonNullElse(firstFailure.get(), e));
            } catch (TimeoutException e) {
                throw new AssertionError("a rank did not end within " + RUN_TIMEOUT, e);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new AssertionError("interrupted", e);
            }
        }
        return results;
    }

    /** The failure as it was thrown, so that a test sees its type and message. */
    @SuppressWarnings({"unchecked", "TypeParameterUnusedInFormals"}) // the cast is what makes a checked exception pass
    private static <E extends Throwable> void sneakyThrow(Throwable failure) throws E {
        throw (E) failure;
    }
}
