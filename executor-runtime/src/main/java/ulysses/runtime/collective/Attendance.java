package ulysses.runtime.collective;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.chrono.Milliseconds;
import org.bytedeco.pytorch.Store;
import org.bytedeco.pytorch.StringVector;
import ulysses.runtime.collective.BackendCollectives.Group;
import ulysses.runtime.memory.TensorScope;

/**
 * A list in the store where ranks write how far they came, so that a rank that waits in vain can say
 * for whom. Nothing is written while operations are fast.
 */
final class Attendance {
    private final Store store;
    private final List<Integer> worldRanks;
    private final int worldRank;

    private Attendance(Store store, List<Integer> worldRanks, int worldRank) {
        this.store = store;
        this.worldRanks = worldRanks;
        this.worldRank = worldRank;
    }

    /** The list of {@code group}, under {@code prefix}. */
    static Attendance of(RendezvousStore store, String prefix, Group group) {
        return new Attendance(
                store.under(prefix + "/attendance"),
                group.worldRanks(),
                group.worldRanks().get(group.rank()));
    }

    /** Writes that this rank has come to point {@code sequence}; later points have higher numbers. */
    void report(long sequence) {
        store.set(key(worldRank), Long.toString(sequence));
    }

    /** Waits until all members have reported something, and names those that have not by then. */
    List<Integer> awaitEveryone(Duration timeout) {
        try (TensorScope scope = TensorScope.open()) {
            StringVector keys = new StringVector();
            worldRanks.forEach(rank -> keys.push_back(key(rank)));
            store._wait(keys, new Milliseconds(timeout.toMillis()));
            return List.of();
        } catch (RuntimeException e) {
            List<Integer> missing = missing(0);
            if (missing.isEmpty()) {
                throw e;
            }
            return missing;
        }
    }

    /** World ranks that have not reported {@code sequence} or a later point. */
    List<Integer> missing(long sequence) {
        List<Integer> missing = new ArrayList<>();
        try (TensorScope scope = TensorScope.open()) {
            for (int rank : worldRanks) {
                if (rank != worldRank && reported(rank) < sequence) {
                    missing.add(rank);
                }
            }
        }
        return missing;
    }

    private long reported(int rank) {
        String key = key(rank);
        return store.check(new StringVector(key)) ? Long.parseLong(store.get_to_str(key)) : -1;
    }

    private static String key(int rank) {
        return "rank-" + rank;
    }
}
