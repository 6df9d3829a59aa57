package ulysses.driver.launch;

import static org.assertj.core.api.Assertions.assertThat;

import java.net.InetAddress;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TaskHostTest {

    @ParameterizedTest(name = "tasks {0}, partition {1}")
    @CsvSource({
        "127.0.0.1:1 127.0.0.1:2, 0, 127.0.0.1, 2, false",
        "10.0.0.5:1 10.0.0.6:2 10.0.0.5:3, 2, 10.0.0.5, 2, false",
        "10.0.0.5:1 10.0.0.6:2 10.0.0.5:3, 1, 10.0.0.6, 1, true",
        "127.0.1.1:1 10.0.0.6:2, 0, 10.0.0.9, 1, true",
        "[2001:db8::1]:1 [2001:db8::2]:2, 1, 2001:db8:0:0:0:0:0:2, 1, true",
    })
    void advertisesAnAddressThatTheOtherRanksReach(
            String tasks, int partition, String address, int ranks, boolean speaks) throws Exception {
        InetAddress towardsDriver = InetAddress.getByName("10.0.0.9");

        TaskHost host = TaskHost.of("here", List.of(tasks.split(" ", -1)), partition, towardsDriver);

        assertThat(host).isEqualTo(new TaskHost("here", address, ranks, speaks));
    }

    @Test
    void knowsTheInterfaceOfItsAddress() {
        assertThat(TaskHost.networkInterface("127.0.0.1")).isPresent();
        assertThat(TaskHost.networkInterface("198.51.100.1")).isEmpty();
    }

    @Test
    void offersItsOwnAddressFirstAndOnlyThoseOfAChosenInterface() {
        TaskHost host = new TaskHost("here", "127.0.0.1", 1, true);
        String loopback = TaskHost.networkInterface("127.0.0.1").orElseThrow();

        assertThat(host.addresses(null)).startsWith("127.0.0.1").hasSizeLessThanOrEqualTo(AddressProbe.ADDRESSES);
        assertThat(host.addresses(loopback)).containsExactly("127.0.0.1");
        assertThat(new TaskHost("there", "198.51.100.1", 1, true).addresses("no-such-interface"))
                .as("what Spark says, for want of better")
                .containsExactly("198.51.100.1");
    }
}
