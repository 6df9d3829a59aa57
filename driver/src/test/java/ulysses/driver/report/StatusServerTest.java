package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.function.Consumer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankEvent;

class StatusServerTest {
    @TempDir
    private Path folder;

    private final HandClock clock = new HandClock();
    private ReportedRun files;
    private StatusServer server;

    /** Time passes when a test says so. */
    private static final class HandClock extends Clock {
        private Instant now = ReportedRun.CLOCK.instant();

        void pass(Duration time) {
            now = now.plus(time);
        }

        @Override
        public Instant instant() {
            return now;
        }

        @Override
        public ZoneOffset getZone() {
            return ZoneOffset.UTC;
        }

        @Override
        public Clock withZone(ZoneId zone) {
            return this;
        }
    }

    @BeforeEach
    void open() throws IOException {
        files = new ReportedRun(folder);
        start();
    }

    private void start() throws IOException {
        LiveRun run = LiveRun.of(files.arguments(files.told("")), files.read(), clock);
        server = StatusServer.start(new TrainingConfig.StatusPage("127.0.0.1", 0), run);
    }

    @AfterEach
    void close() {
        server.end(RunRecord.Ending.DONE);
    }

    @Test
    void saysWhatTheStatusCommandSaysOfTheSameEvents() throws Exception {
        try (RunJournal journal = files.journal()) {
            happened(journal.andThen(server));
        }

        JsonNode live = json();

        JsonNode printed = ReportedRun.json(RunStatus.read(files.output, ReportedRun.HADOOP, clock.instant())
                .orElseThrow()
                .json());
        assertThat(printed.size()).isGreaterThan(15);
        printed.properties()
                .forEach(field ->
                        assertThat(live.path(field.getKey())).as(field.getKey()).isEqualTo(field.getValue()));
        assertThat(live.path("curves").path("loss").toString()).isEqualTo("[[1,4.0],[2,3.0],[3,2.0]]");
        assertThat(live.path("curves").path("tokens_per_second").toString())
                .isEqualTo("[[1,2000.0],[2,2000.0],[3,2000.0]]");
    }

    private static void happened(Consumer<RankEvent> run) {
        run.accept(new RankEvent.Placed(0, "host-a", "GPU-1", 1));
        run.accept(new RankEvent.Placed(1, "host-b", null, 1));
        run.accept(new RankEvent.Phase(0, "load", 0));
        for (long step = 1; step <= 3; step++) {
            run.accept(ReportedRun.step(step, 5.0 - step));
            run.accept(ReportedRun.logged(step, 5.0 - step));
        }
        run.accept(new RankEvent.Saved(0, 3, "out/checkpoint-3"));
        run.accept(new RankEvent.Warning(1, "little memory left"));
    }

    @Test
    void showsWhereEveryRankIsAndHowLate() throws Exception {
        happened(server);
        server.accept(new RankEvent.Phase(0, "step", 3));
        server.accept(new RankEvent.Phase(1, "step", 3));
        server.accept(new RankEvent.Phase(0, "step", 4));
        clock.pass(Duration.ofSeconds(7));
        server.accept(new RankEvent.Phase(1, "step", 3));
        clock.pass(Duration.ofMillis(500));

        JsonNode ranks = json().path("rank_table");

        assertThat(ranks.path(0).toString())
                .isEqualTo("{\"rank\":0,\"host\":\"host-a\",\"gpu\":\"GPU-1\",\"phase\":\"step\",\"step\":4,"
                        + "\"late_seconds\":0.0,\"silent_seconds\":7.5}");
        assertThat(ranks.path(1).toString())
                .isEqualTo("{\"rank\":1,\"host\":\"host-b\",\"phase\":\"step\",\"step\":3,"
                        + "\"late_seconds\":7.5,\"silent_seconds\":0.5}");
    }

    /** As with elastic: true, where a lost host does not come back. */
    @Test
    void anAttemptOnFewerRanksShowsThoseAlone() throws Exception {
        happened(server);

        server.accept(new RankEvent.Placed(0, "host-a", "GPU-1", 2));

        assertThat(json().path("rank_table")).hasSize(1);
        server.accept(new RankEvent.Placed(0, "host-a", "GPU-1", 3));
        server.accept(new RankEvent.Placed(1, "host-c", null, 3));
        assertThat(json().path("rank_table")).hasSize(2);
    }

    @Test
    void aNewAttemptIsNotLateForWhatTheOneBeforeHadReached() throws Exception {
        happened(server);
        server.accept(new RankEvent.Phase(0, "step", 9));
        clock.pass(Duration.ofSeconds(60));
        server.accept(new RankEvent.Placed(0, "host-c", null, 2));
        server.accept(new RankEvent.Placed(1, "host-b", null, 2));
        server.accept(new RankEvent.Phase(0, "load", 0));
        server.accept(ReportedRun.step(2, 1.5));

        JsonNode json = json();

        assertThat(json.path("rank_table").path(0).path("host").asText()).isEqualTo("host-c");
        assertThat(json.path("rank_table").findValuesAsText("late_seconds")).containsOnly("0.0");
        assertThat(json.path("curves").path("loss").toString()).isEqualTo("[[1,4.0],[2,1.5]]");
        assertThat(json.path("attempts").asInt()).isEqualTo(2);
    }

    @Test
    void goesOnFromWhatTheFolderTellsOfEarlierCommands() throws Exception {
        try (RunJournal journal = files.journal()) {
            ReportedRun.train(journal, 1, 3);
        }
        server.end(RunRecord.Ending.DONE);
        start();

        JsonNode json = json();

        assertThat(json.path("step").asInt()).isEqualTo(3);
        assertThat(json.path("curves").path("loss")).hasSize(3);
        assertThat(json.path("rank_table")).isEmpty();
    }

    @Test
    void aLongRunTakesNoMoreThanAShortOne() throws Exception {
        server.accept(new RankEvent.Placed(0, "host", null, 1));
        for (int step = 1; step <= 50_000; step++) {
            server.accept(ReportedRun.step(step, step == 30_000 ? 99 : 2));
            server.accept(new RankEvent.Phase(0, "step", step));
            server.accept(new RankEvent.Warning(0, "warning " + step));
        }

        JsonNode json = json();

        assertThat(json.path("curves").path("loss").size()).isBetween(100, 900);
        assertThat(json.path("curves").path("loss").toString()).contains("[30000,99.0]"); // no spike is lost
        assertThat(json.path("warnings").toString())
                .isEqualTo(
                        "[\"warning 49996\",\"warning 49997\",\"warning 49998\",\"warning 49999\",\"warning 50000\"]");
        assertThat(json.toString().length()).isLessThan(100_000);
    }

    @Test
    void tellsNoSecret() throws Exception {
        server.accept(new RankEvent.Warning(0, "s3a://key:secret@bucket"));
        server.accept(new RankEvent.Warning(0, "mail me@example.org"));

        assertThat(json().path("warnings").toString()).isEqualTo("[\"s3a://***@bucket\",\"mail me@example.org\"]");
    }

    @Test
    void thePageNeedsNothingElse() throws Exception {
        HttpResponse<String> page = get("");

        assertThat(page.statusCode()).isEqualTo(200);
        assertThat(page.headers().firstValue("Content-Type")).hasValue("text/html; charset=utf-8");
        assertThat(page.headers().firstValue("Content-Security-Policy"))
                .hasValueSatisfying(policy -> assertThat(policy).startsWith("default-src 'none'"));
        assertThat(page.body())
                .contains("fetch(\"status.json\"", "--ink:") // its data, and the style sheet of reports
                .doesNotContainPattern("(src|href)=\"(?!data:)");
    }

    @Test
    void answersReadsOfItsTwoPathsOnlyAndOnlyUnderItsOwnName() throws Exception {
        assertThat(get("other").statusCode()).isEqualTo(404);
        assertThat(line("POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"))
                .contains(" 405 ");
        assertThat(line("GET /status.json HTTP/1.1\r\nHost: evil.example\r\n\r\n"))
                .contains(" 403 ");
        assertThat(line("HEAD /status.json HTTP/1.1\r\nHost: localhost:1\r\n\r\n"))
                .contains(" 200 ");
    }

    @Test
    void refusesAPortThatIsTaken() {
        int taken = URI.create(server.address()).getPort();

        assertThatThrownBy(() -> StatusServer.check(new TrainingConfig.StatusPage("127.0.0.1", taken)))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("status_port %d at status_host 127.0.0.1 can't be listened at".formatted(taken))
                .hasMessageContaining("choose another port, or 0 for a free one");
    }

    private JsonNode json() throws Exception {
        return ReportedRun.json(get("status.json").body());
    }

    private HttpResponse<String> get(String path) throws Exception {
        return HttpClient.newHttpClient()
                .send(
                        HttpRequest.newBuilder(URI.create(server.address() + path))
                                .build(),
                        HttpResponse.BodyHandlers.ofString());
    }

    /** The first line of what is answered to {@code request}. */
    private String line(String request) throws IOException {
        URI at = URI.create(server.address());
        try (Socket socket = new Socket(InetAddress.getByName(at.getHost()), at.getPort())) {
            socket.getOutputStream().write(request.getBytes(StandardCharsets.US_ASCII));
            InputStream in = socket.getInputStream();
            StringBuilder line = new StringBuilder();
            for (int next = in.read(); next >= 0 && next != '\r'; next = in.read()) {
                line.append((char) next);
            }
            return line.toString();
        }
    }
}
