package ulysses.driver.launch;

import static java.nio.charset.StandardCharsets.UTF_8;
import static org.assertj.core.api.Assertions.assertThat;

import java.net.InetAddress;
import java.net.Socket;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(20)
class ReportServerTest {
    private final List<RankReport> reports = new CopyOnWriteArrayList<>();
    private ReportServer server;
    private RunAddress address;

    @BeforeEach
    void open() throws Exception {
        server = ReportServer.open("127.0.0.1", 0, Duration.ofSeconds(2), (from, report) -> {
            if (!(report instanceof RankReport.Alive)) {
                reports.add(report);
            }
        });
        address = server.address("127.0.0.1");
    }

    @AfterEach
    void close() {
        server.close();
    }

    @Test
    void takesReportsOfATaskWithTheToken() throws Exception {
        try (DriverLink link = DriverLink.open(address, hello(address.token()))) {
            link.send(new RankReport.Seated(3, 77, "GPU-1"));

            LocalCluster.await("report", Duration.ofSeconds(5), () -> reports.size() == 2);
        }
        assertThat(reports).containsExactly(hello(address.token()), new RankReport.Seated(3, 77, "GPU-1"));
    }

    @Test
    void passesTheQuestionForStacksOnToTheTask() throws Exception {
        try (DriverLink link = DriverLink.open(address, hello(address.token()))) {
            link.whenStacksAsked(() -> link.send(new RankReport.Stacks("main: waits")));
            LocalCluster.await("hello", Duration.ofSeconds(5), () -> !reports.isEmpty());

            server.askForStacks();

            LocalCluster.await(
                    "stacks", Duration.ofSeconds(5), () -> reports.contains(new RankReport.Stacks("main: waits")));
        }
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "GET / HTTP/1.1\r\n",
                "{\"report\":\"hello\",\"token\":\"guess\",\"attempt\":1,\"partition\":0}\n",
                "{\"report\":\"hello\"}\n",
                "{\"report\":\"stacks\",\"text\":\"x\"}\n",
                "{not json\n"
            })
    void hangsUpOnWhoeverHasNoToken(String line) throws Exception {
        try (Socket stranger = new Socket(InetAddress.getByName(address.host()), address.port())) {
            stranger.setSoTimeout(5_000);
            stranger.getOutputStream().write(line.getBytes(UTF_8));

            assertThat(stranger.getInputStream().read()).isEqualTo(-1);
        }
        assertThat(reports).isEmpty();
    }

    @Test
    void saysWhenNothingIsHeardOfATaskButNotOfOneThatConnectedAnewOrIsThere() throws Exception {
        try (Socket first = silentTask()) {
            LocalCluster.await("hello", Duration.ofSeconds(5), () -> reports.size() == 1);
            try (DriverLink again = DriverLink.open(address, hello(address.token()))) {
                Thread.sleep(3_000);
                assertThat(reports).hasSize(2).allMatch(RankReport.Hello.class::isInstance);

                try (Socket last = silentTask()) {
                    LocalCluster.await(
                            "silence", Duration.ofSeconds(5), () -> reports.contains(new RankReport.Silent(2)));
                }
            }
        }
    }

    private Socket silentTask() throws Exception {
        Socket task = new Socket(InetAddress.getByName(address.host()), address.port());
        task.getOutputStream().write((JsonLines.write(hello(address.token())) + "\n").getBytes(UTF_8));
        return task;
    }

    @Test
    void keepsTheTokenOutOfLogs() {
        assertThat(address.toString()).isEqualTo("127.0.0.1:" + address.port());
    }

    private static RankReport.Hello hello(String token) {
        return new RankReport.Hello(token, 1, 0, "127.0.0.1", "0");
    }
}
