package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import ulysses.driver.launch.AddressProbe.Offer;
import ulysses.driver.launch.DeviceAssignment.Seat;

class AddressProbeTest {
    /** Of a network for documentation (RFC 5737): no machine has it. */
    private static final String NOWHERE = "198.51.100.1";

    @Test
    void asksEveryAddressByConnecting() throws Exception {
        try (AddressProbe a = AddressProbe.listen("a", List.of(NOWHERE, "127.0.0.1"));
                AddressProbe b = AddressProbe.listen("b", List.of("127.0.0.1", "127.0.0.2"))) {
            List<Offer> offers = List.of(a.offer(), b.offer());

            assertThat(b.reached(offers)).isEqualTo("23");
            assertThat(a.reached(offers)).as("of itself it knows all").isEqualTo("33");
            assertThat(AddressProbe.agreed(offers, List.of(a.reached(offers), b.reached(offers))))
                    .isEqualTo(Map.of("a", "127.0.0.1", "b", "127.0.0.1"));
        }
    }

    /** The bridge of a container engine has the same address on every machine. */
    @Test
    void takesNoOtherMachineForTheOneThatOffers() throws Exception {
        try (AddressProbe here = AddressProbe.listen("here", List.of("127.0.0.1"))) {
            Offer elsewhere = new Offer(
                    "elsewhere", List.of("127.0.0.1"), here.offer().port(), "another word, which has thirty-six");

            assertThat(here.reached(List.of(elsewhere))).isEqualTo("0");
        }
    }

    @Test
    void theAddressIsTheFirstThatAllOthersReach() {
        List<Offer> offers = List.of(offer("a", "1", "2", "3"), offer("b", "4", "5"), offer("c", "6"));

        Map<String, String> agreed = AddressProbe.agreed(offers, List.of("731", "631", "521"));

        assertThat(agreed).isEqualTo(Map.of("a", "3", "b", "5", "c", "6"));
    }

    @Test
    void namesTheHostThatIsNotReachedAndFromWhere() {
        List<Offer> offers = List.of(offer("a", "1", "2"), offer("b", "3", "4"), offer("c", "5"));

        assertThatThrownBy(() -> AddressProbe.agreed(offers, List.of("331", "030", "331")))
                .isInstanceOf(LaunchException.class)
                .hasMessageStartingWith("host a can't be reached from b; tried 1, 2. ")
                .hasMessageContaining("spark.executorEnv.GLOO_SOCKET_IFNAME");
        assertThatThrownBy(() -> AddressProbe.agreed(offers, List.of("311", "131", "231")))
                .hasMessageStartingWith("host a has no address at which all other hosts reach it; tried 1, 2. ");
    }

    /** Two hosts with three ranks, and a task that has none. */
    @Test
    void tasksOfSeveralHostsAgreeOnReachableAddresses() throws Exception {
        AllTasks tasks = new AllTasks(4);
        ExecutorService threads = Executors.newFixedThreadPool(4);
        try (AddressProbe a = AddressProbe.listen("a", List.of(NOWHERE, "127.0.0.2"));
                AddressProbe b = AddressProbe.listen("b", List.of("127.0.0.3"))) {
            List<Future<Rendezvous.Seating>> seatings = new ArrayList<>();
            AddressProbe[] probes = {a, null, b};
            for (int task = 0; task < 3; task++) {
                Seat seat = new Seat(task, task < 2 ? "a" : "b", "executor", null, 100 + task);
                AddressProbe probe = probes[task];
                Rendezvous rendezvous = tasks.of(task);
                seatings.add(threads.submit(() -> {
                    Rendezvous.Seating seating = rendezvous.seat(seat, 1, probe);
                    rendezvous.publish(new Rendezvous.Store("store", 1));
                    return seating;
                }));
            }
            Future<?> watcher = threads.submit(() -> {
                tasks.of(3).watch();
                return null;
            });

            for (Future<Rendezvous.Seating> seating : seatings) {
                assertThat(seating.get().places()).hasSize(3);
                assertThat(seating.get().severalHosts()).isTrue();
                assertThat(seating.get().address("a")).isEqualTo("127.0.0.2");
                assertThat(seating.get().address("b")).isEqualTo("127.0.0.3");
            }
            watcher.get();
        } finally {
            threads.shutdownNow();
        }
    }

    private static Offer offer(String host, String... addresses) {
        return new Offer(host, List.of(addresses), 1, "word");
    }

    /** An all-gather between threads. */
    private static final class AllTasks {
        private final String[] said;
        private final CyclicBarrier barrier;

        AllTasks(int tasks) {
            said = new String[tasks];
            barrier = new CyclicBarrier(tasks);
        }

        Rendezvous of(int task) {
            return new Rendezvous(
                    mine -> {
                        try {
                            said[task] = mine;
                            barrier.await();
                            List<String> all = List.of(said.clone());
                            barrier.await();
                            return all;
                        } catch (Exception e) {
                            throw new IllegalStateException(e);
                        }
                    },
                    2);
        }
    }
}
