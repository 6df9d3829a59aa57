package ulysses.job;

import java.time.Duration;
import java.util.function.BooleanSupplier;

/** Waits for conditions. */
final class Await {
    private Await() {}

    /** Looks again and again; fails loudly when {@code condition} does not come true within {@code limit}. */
    static void that(String what, Duration limit, BooleanSupplier condition) throws InterruptedException {
        long deadline = System.nanoTime() + limit.toNanos();
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("waited %d s in vain for: %s".formatted(limit.toSeconds(), what));
            }
            Thread.sleep(10);
        }
    }
}
