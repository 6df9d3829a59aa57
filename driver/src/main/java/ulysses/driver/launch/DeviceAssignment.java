package ulysses.driver.launch;

import java.util.ArrayList;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.mesh.RankMesh;

/**
 * Task resources and host names to rank order. Spark's partition order does not follow hosts, so every task sorts the same list of
 * seats the same way: as many sequence-parallel groups as possible inside one host, the left-overs together at the end.
 */
final class DeviceAssignment {

    /**
     * Where one task runs.
     *
     * @param partition the task
     * @param host address of its machine
     * @param executorId its executor
     * @param device what identifies its GPU on the host; null on CPU
     * @param processId its rank process
     */
    record Seat(
            int partition,
            String host,
            String executorId,
            @Nullable String device,
            long processId) {}

    /**
     * One rank.
     *
     * @param rank world rank
     * @param seat where it runs
     */
    record Placement(int rank, Seat seat) {}

    private DeviceAssignment() {}

    /**
     * Which tasks get a rank when a stage has more of them than ranks: those that leave the most groups inside one host.
     *
     * @param hosts of all tasks, by partition
     * @param leftOut hosts that get none
     * @return partitions in ascending order; empty when too few are on other hosts
     */
    static List<Integer> seated(List<String> hosts, Collection<String> leftOut, RankMesh mesh) {
        List<Seat> free = IntStream.range(0, hosts.size())
                .filter(partition -> !leftOut.contains(hosts.get(partition)))
                .mapToObj(partition -> new Seat(partition, hosts.get(partition), "", null, 0))
                .toList();
        return free.size() < mesh.worldSize()
                ? List.of()
                : ordered(free, mesh.sequenceParallelSize()).stream()
                        .limit(mesh.worldSize())
                        .map(Seat::partition)
                        .sorted()
                        .toList();
    }

    /**
     * All ranks in order.
     *
     * @throws LaunchException when two tasks hold the same GPU
     */
    static List<Placement> place(List<Seat> seats, int sequenceParallelSize) {
        refuseSharedDevices(seats);
        List<Seat> ordered = ordered(seats, sequenceParallelSize);
        return IntStream.range(0, ordered.size())
                .mapToObj(rank -> new Placement(rank, ordered.get(rank)))
                .toList();
    }

    /** Sequence-parallel groups of {@code placements} that have ranks on more than one host. */
    static int groupsAcrossHosts(List<Placement> placements, int sequenceParallelSize) {
        int across = 0;
        for (int first = 0; first < placements.size(); first += sequenceParallelSize) {
            long hosts = placements.subList(first, first + sequenceParallelSize).stream()
                    .map(placement -> placement.seat().host())
                    .distinct()
                    .count();
            across += hosts > 1 ? 1 : 0;
        }
        return across;
    }

    private static List<Seat> ordered(List<Seat> seats, int sequenceParallelSize) {
        Map<String, List<Seat>> byHost = new TreeMap<>();
        seats.forEach(seat ->
                byHost.computeIfAbsent(seat.host(), host -> new ArrayList<>()).add(seat));
        List<Seat> whole = new ArrayList<>();
        List<List<Seat>> leftOver = new ArrayList<>();
        for (List<Seat> onHost : byHost.values()) {
            onHost.sort(Comparator.comparingInt(Seat::partition));
            int inGroups = onHost.size() / sequenceParallelSize * sequenceParallelSize;
            whole.addAll(onHost.subList(0, inGroups));
            leftOver.add(onHost.subList(inGroups, onHost.size()));
        }
        leftOver.forEach(whole::addAll);
        return whole;
    }

    private static void refuseSharedDevices(List<Seat> seats) {
        Map<String, Seat> owners = new HashMap<>();
        for (Seat seat : seats) {
            if (seat.device() == null) {
                continue;
            }
            Seat other = owners.putIfAbsent(seat.host() + " " + seat.device(), seat);
            if (other != null) {
                throw new LaunchException(
                        FailureKind.CONFIG,
                        ("GPU %s of host %s was given to task %d (executor %s) and to task %d (executor %s), but a rank needs"
                                        + " one of its own; let one Worker per host own all GPUs, or give each Worker a"
                                        + " discovery script that prints only its own; on YARN let it isolate GPUs"
                                        + " (yarn.nodemanager.resource-plugins: yarn.io/gpu)")
                                .formatted(
                                        seat.device(),
                                        seat.host(),
                                        other.partition(),
                                        other.executorId(),
                                        seat.partition(),
                                        seat.executorId()));
            }
        }
    }
}
