package ulysses.runtime.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import ulysses.runtime.checkpoint.RunLease.Timing;
import ulysses.runtime.weights.Folder;

/** What a lease must do on every file system. */
final class LeaseTrials {
    /** The expiry leaves room for a machine that is busy. */
    static final Timing FAST = new Timing(Duration.ofMillis(100), Duration.ofSeconds(2));

    private LeaseTrials() {}

    /** Five want it at once, some after others have it. */
    static void oneOfManyHoldsIt(Folder folder) throws Exception {
        int wanting = 5;
        ExecutorService threads = Executors.newFixedThreadPool(wanting);
        AtomicInteger holding = new AtomicInteger();
        List<Callable<Boolean>> takers = new ArrayList<>();
        CountDownLatch refused = new CountDownLatch(wanting - 1);
        for (int i = 0; i < wanting; i++) {
            LeaseHolder me = LeaseHolder.here("run-" + i);
            takers.add(() -> {
                try (RunLease lease = RunLease.take(folder, me, FAST, () -> {})) {
                    assertThat(holding.incrementAndGet()).as("holders").isEqualTo(1);
                    assertThat(refused.await(20, TimeUnit.SECONDS))
                            .as("all others are refused")
                            .isTrue();
                    lease.requireHeld();
                    holding.decrementAndGet();
                    return true;
                } catch (LeaseException e) {
                    assertThat(e).hasMessageContaining("holds its lease since");
                    refused.countDown();
                    return false;
                }
            });
        }
        int winners = 0;
        for (Future<Boolean> taker : threads.invokeAll(takers)) {
            winners += taker.get() ? 1 : 0;
        }
        threads.shutdown();
        assertThat(winners).isEqualTo(1);
    }

    /** The first holder stands still, as a machine that swaps; the second waits for the expiry; then the first wakes up. */
    static void aDeadHolderIsReplacedAndHearsOfIt(Folder folder) throws Exception {
        AtomicBoolean stalled = new AtomicBoolean();
        AtomicBoolean heard = new AtomicBoolean();
        Folder stalling = new StallingFolder(folder, stalled);
        RunLease first = RunLease.take(stalling, LeaseHolder.here("first"), FAST, () -> heard.set(true));
        stalled.set(true);
        long begin = System.nanoTime();

        try (RunLease second = RunLease.take(folder, LeaseHolder.here("second"), FAST, () -> {})) {
            assertThat(Duration.ofNanos(System.nanoTime() - begin)).isGreaterThanOrEqualTo(FAST.expiry());
            first.requireHeld();
            stalled.set(false);
            long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(20);
            while (!heard.get() && System.nanoTime() < deadline) {
                Thread.sleep(10);
            }
            assertThatThrownBy(first::requireHeld)
                    .isInstanceOf(LeaseException.class)
                    .hasMessageContaining("was taken over by another run")
                    .hasMessageContaining("run second");
            first.close();
            second.requireHeld();
        }
        assertThatThrownBy(first::requireHeld).isInstanceOf(LeaseException.class);
    }
}
