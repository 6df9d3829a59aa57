package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.driver.launch.DeviceAssignment.Placement;
import ulysses.driver.launch.DeviceAssignment.Seat;
import ulysses.runtime.mesh.RankMesh;

class DeviceAssignmentTest {

    @ParameterizedTest(name = "hosts {0}, P {1}")
    @CsvSource({
        // hosts by partition, P, host and partition of each rank, groups across hosts
        "a,        1, a0,           0",
        "a b,      1, a0 b1,         0",
        "b a,      1, a1 b0,         0",
        "a b a b,  2, a0 a2 b1 b3,     0",
        "a b a b,  4, a0 a2 b1 b3,     1",
        "a b b c,  2, b1 b2 a0 c3,     1",
        "a a a b,  2, a0 a1 a2 b3,     1",
        "c a b b b b a a, 4, b2 b3 b4 b5 a1 a6 a7 c0, 1",
    })
    void keepsGroupsInsideAHostWherePossible(String hosts, int P, String order, int across) {
        List<Seat> seats = seats(hosts.strip().split(" "));

        List<Placement> placements = DeviceAssignment.place(seats, P);

        assertThat(words(placements, place -> place.seat().host() + place.seat().partition()))
                .isEqualTo(order);
        assertThat(DeviceAssignment.groupsAcrossHosts(placements, P)).isEqualTo(across);
    }

    @ParameterizedTest(name = "hosts {0} without {1}: {2} ranks in groups of {3}")
    @CsvSource({
        "a b c,       b, 2, 1, 0 2",
        "a b c,       b, 3, 1, ''",
        "a b c a,     b, 2, 2, 0 3",
        "a c b c a b, b, 2, 2, 0 4",
        "a c c b,     b, 2, 2, 1 2",
        "a b,         z, 2, 1, 0 1",
    })
    void seatsOnlyTasksOnOtherHostsAndGroupsInsideOne(String hosts, String without, int ranks, int P, String seated) {
        List<Integer> partitions =
                DeviceAssignment.seated(List.of(hosts.strip().split(" ")), List.of(without), new RankMesh(ranks, P));

        assertThat(partitions.stream().map(String::valueOf).collect(Collectors.joining(" ")))
                .isEqualTo(seated);
    }

    @Test
    void numbersRanksFromZero() {
        List<Placement> placements = DeviceAssignment.place(seats("a", "b", "a"), 1);

        assertThat(placements).extracting(Placement::rank).containsExactly(0, 1, 2);
    }

    @Test
    void refusesAGpuThatTwoTasksHold() {
        List<Seat> seats = List.of(new Seat(0, "a", "1", "0", 11), new Seat(1, "a", "2", "0", 12));

        assertThatThrownBy(() -> DeviceAssignment.place(seats, 1))
                .isInstanceOf(LaunchException.class)
                .hasMessage(
                        "GPU 0 of host a was given to task 0 (executor 1) and to task 1 (executor 2), but a rank needs one of"
                                + " its own; let one Worker per host own all GPUs, or give each Worker a discovery script that"
                                + " prints only its own; on YARN let it isolate GPUs"
                                + " (yarn.nodemanager.resource-plugins: yarn.io/gpu)");
    }

    @Test
    void acceptsTheSameGpuNumberOnTwoHosts() {
        List<Seat> seats = List.of(new Seat(0, "a", "1", "0", 11), new Seat(1, "b", "2", "0", 12));

        assertThat(DeviceAssignment.place(seats, 2)).hasSize(2);
    }

    private static List<Seat> seats(String... hosts) {
        return IntStream.range(0, hosts.length)
                .mapToObj(partition -> new Seat(partition, hosts[partition], "e" + partition, null, 100 + partition))
                .toList();
    }

    private static String words(List<Placement> placements, java.util.function.Function<Placement, String> word) {
        return Arrays.stream(placements.toArray(Placement[]::new)).map(word).collect(Collectors.joining(" "));
    }
}
