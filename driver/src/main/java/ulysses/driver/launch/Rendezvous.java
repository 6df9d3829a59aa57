package ulysses.driver.launch;

import java.time.Duration;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import ulysses.driver.launch.DeviceAssignment.Placement;
import ulysses.driver.launch.DeviceAssignment.Seat;

/**
 * How the tasks of one stage agree on ranks, addresses and the store: all-gathers of strings, in this order, by every task: who is
 * there; with several hosts, who reaches whom; where the store is.
 *
 * @param allGather gives everyone's strings in order of partition
 * @param looks how often the tasks look who reaches whom, {@link #PAUSE} apart, before they give up; all tasks need the same number
 */
record Rendezvous(AllGather allGather, int looks) {
    /** A network that is away for a while may come back. */
    static final Duration PAUSE = Duration.ofSeconds(2);

    /** Blocks until all tasks have called it. */
    interface AllGather {
        List<String> gather(String mine);
    }

    /** Where rank 0's store listens. */
    record Store(String host, int port) {}

    /**
     * What a task says first.
     *
     * @param seat where it runs
     * @param offer where its host may be reached; null if another task of the host says it, or there is one host only
     */
    private record Arrival(Seat seat, AddressProbe.@Nullable Offer offer) {}

    /**
     * What all tasks have agreed on; the same in every task that has a rank.
     *
     * @param places all ranks in order
     * @param addresses where hosts are reached, if not by the name that a seat gives
     */
    record Seating(List<Placement> places, Map<String, String> addresses) {
        Seating {
            places = List.copyOf(places);
            addresses = Map.copyOf(addresses);
        }

        boolean severalHosts() {
            return addresses.size() > 1;
        }

        /** Where other hosts reach {@code host}. */
        String address(String host) {
            return addresses.getOrDefault(host, host);
        }
    }

    /**
     * Meets all others.
     *
     * @param probe listens for the host of this task, if this task is to do so
     * @throws LaunchException if two tasks hold one GPU, or a host can't be reached
     */
    Seating seat(Seat mine, int sequenceParallelSize, @Nullable AddressProbe probe) throws InterruptedException {
        List<Arrival> arrivals =
                arrivals(allGather.gather(JsonLines.write(new Arrival(mine, probe == null ? null : probe.offer()))));
        Map<String, String> addresses = addresses(offers(arrivals), probe);
        List<Seat> seats = arrivals.stream().map(Arrival::seat).toList();
        return new Seating(DeviceAssignment.place(seats, sequenceParallelSize), addresses);
    }

    /** Where each host is reached; nothing if there is only one. */
    private Map<String, String> addresses(List<AddressProbe.Offer> offers, @Nullable AddressProbe probe)
            throws InterruptedException {
        if (offers.size() < 2) {
            return Map.of();
        }
        for (int look = 1; ; look++) {
            String seen = probe != null && offers.contains(probe.offer()) ? probe.reached(offers) : "";
            List<String> reached = allGather.gather(seen).stream()
                    .filter(line -> !line.isEmpty())
                    .toList();
            if (look >= looks || AddressProbe.suffices(offers, reached)) {
                return AddressProbe.agreed(offers, reached);
            }
            Thread.sleep(PAUSE.toMillis());
        }
    }

    private static List<Arrival> arrivals(List<String> lines) {
        return lines.stream()
                .filter(line -> !line.isEmpty())
                .map(line -> JsonLines.readOwn(line, Arrival.class))
                .sorted(Comparator.comparingInt(arrival -> arrival.seat().partition()))
                .toList();
    }

    /** One of each host, in order of partition. */
    private static List<AddressProbe.Offer> offers(List<Arrival> arrivals) {
        Map<String, AddressProbe.Offer> first = new LinkedHashMap<>();
        for (Arrival arrival : arrivals) {
            if (arrival.offer() != null) {
                first.putIfAbsent(arrival.offer().host(), arrival.offer());
            }
        }
        return List.copyOf(first.values());
    }

    /** What a task does that gets no rank. */
    void watch() throws InterruptedException {
        addresses(offers(arrivals(allGather.gather(""))), null);
        allGather.gather("");
    }

    /** Rank 0's task tells the others where its store listens; port -1 says that it never will. */
    void publish(Store store) {
        allGather.gather(JsonLines.write(store));
    }

    /** What rank 0's task published. */
    Store await(int partitionOfRankZero) {
        return JsonLines.readOwn(allGather.gather("").get(partitionOfRankZero), Store.class);
    }
}
