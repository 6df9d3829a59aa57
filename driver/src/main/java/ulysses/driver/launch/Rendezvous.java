package ulysses.driver.launch;

import java.util.Comparator;
import java.util.List;
import ulysses.driver.launch.DeviceAssignment.Placement;
import ulysses.driver.launch.DeviceAssignment.Seat;

/**
 * How the tasks of one stage agree on ranks and on the store: two all-gathers of strings, in this order, by every task.
 *
 * @param allGather gives everyone's strings in order of partition
 */
record Rendezvous(AllGather allGather) {

    /** Blocks until all tasks have called it. */
    interface AllGather {
        List<String> gather(String mine);
    }

    /** Where rank 0's store listens. */
    record Store(String host, int port) {}

    /** All ranks in order; the same list in every task that has one. */
    List<Placement> seat(Seat mine, int sequenceParallelSize) {
        List<Seat> seats = allGather.gather(JsonLines.write(mine)).stream()
                .filter(line -> !line.isEmpty())
                .map(line -> JsonLines.readOwn(line, Seat.class))
                .sorted(Comparator.comparingInt(Seat::partition))
                .toList();
        return DeviceAssignment.place(seats, sequenceParallelSize);
    }

    /** What a task does that gets no rank. */
    void watch() {
        allGather.gather("");
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
