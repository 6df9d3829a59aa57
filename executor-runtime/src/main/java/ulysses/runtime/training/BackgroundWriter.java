package ulysses.runtime.training;

import java.time.Duration;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CompletionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;

/** One thread that writes checkpoints, one at a time, for the thread that runs the steps, to which it hands its failures. */
final class BackgroundWriter implements AutoCloseable {
    private static final long CLOSE_SECONDS = 10;

    private final ExecutorService thread = Executors.newSingleThreadExecutor(task -> {
        Thread writer = new Thread(task, "checkpoint-writer");
        writer.setDaemon(true);
        return writer;
    });

    /** What this rank writes by itself. */
    @FunctionalInterface
    interface Own {
        void write() throws InterruptedException;
    }

    /** What is to be done when all ranks have written. */
    @FunctionalInterface
    interface Rest {
        void complete(AllWritten all) throws InterruptedException;
    }

    /** Whether it is known that all ranks have written, and for how long. */
    @FunctionalInterface
    interface AllWritten {
        boolean forLongerThan(Duration time);
    }

    /** Begins to write. */
    Work begin(Own own, Rest rest) {
        Work work = new Work();
        thread.execute(() -> work.run(own, rest));
        return work;
    }

    /** Ends the thread; what it had not finished stays unfinished. */
    @Override
    public void close() {
        thread.shutdownNow();
        try {
            thread.awaitTermination(CLOSE_SECONDS, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** One checkpoint on its way. */
    static final class Work implements AllWritten {
        private final CompletableFuture<Void> written = new CompletableFuture<>();
        private final CompletableFuture<Void> done = new CompletableFuture<>();
        private volatile @Nullable Long allSince;

        private Work() {}

        private void run(Own own, Rest rest) {
            try {
                own.write();
                written.complete(null);
                rest.complete(this);
                done.complete(null);
            } catch (Throwable failure) { // the thread of the steps throws it on
                written.completeExceptionally(failure);
                done.completeExceptionally(failure);
            }
        }

        @Override
        public boolean forLongerThan(Duration time) {
            Long since = allSince;
            return since != null && System.nanoTime() - since > time.toNanos();
        }

        /** Tells the thread that the other ranks have written, too. */
        void allHaveWritten() {
            allSince = System.nanoTime();
        }

        /** Waits until this rank has written; throws what kept it from it. */
        void awaitWritten() {
            join(written);
        }

        /** Waits until all is done; throws what kept it from it. */
        void awaitDone() {
            join(done);
        }

        /** Throws what made it fail, if it has. */
        void check() {
            if (done.isCompletedExceptionally()) {
                join(done);
            }
        }

        private static void join(CompletableFuture<Void> future) {
            try {
                future.join();
            } catch (CompletionException e) {
                if (e.getCause() instanceof RuntimeException cause) {
                    throw cause;
                }
                if (e.getCause() instanceof Error cause) {
                    throw cause;
                }
                throw new CancellationException("the checkpoint was not written: " + e.getCause());
            }
        }
    }
}
