package ulysses.driver.launch;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;

/** Counts the attempts of a run that failed on each host, and says which hosts the next attempt does without. */
final class HostFailures {
    private final int limit;
    private final Map<String, Integer> failures = new TreeMap<>();
    private boolean needed;

    /** @param limit failures of a host before it is left out; 0 never leaves one out */
    HostFailures(int limit) {
        this.limit = limit;
    }

    /**
     * Adds an attempt that ended because of {@code host}, as Spark names it.
     *
     * @return what to tell the user when the host is left out from now on
     */
    Optional<String> add(String host, RankFailure failure) {
        needed = false;
        int count = failures.merge(host, 1, Integer::sum);
        return count != limit
                ? Optional.empty()
                : Optional.of(
                        "host %s is left out of the next attempts: %d failed on it (max_host_failures %d); look at that machine, then run the command again to use it; the last one: %s"
                                .formatted(host, count, limit, failure.reason()));
    }

    /** Says that the next attempt can't do without any host. */
    void needAll() {
        needed = true;
    }

    /** Hosts that get no rank in the next attempt, in order. */
    List<String> leftOut() {
        return failures.entrySet().stream()
                .filter(host -> !needed && limit > 0 && host.getValue() >= limit)
                .map(Map.Entry::getKey)
                .toList();
    }
}
