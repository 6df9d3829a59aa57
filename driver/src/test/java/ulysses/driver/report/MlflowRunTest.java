package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.IntStream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import ulysses.driver.launch.LaunchException;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.mesh.RankEvent;

/** Against a server that keeps to MLflow's REST API 2.0 as documented: paths, methods, fields, limits and errors. */
class MlflowRunTest {
    private final List<Call> calls = new CopyOnWriteArrayList<>();
    private volatile boolean experimentIsThere;
    private volatile boolean broken;
    private HttpServer server;

    private record Call(String method, String path, String query, String authorization, JsonNode body) {}

    @BeforeEach
    void start() throws IOException {
        server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/api/2.0/mlflow/", this::answer);
        server.start();
    }

    @AfterEach
    void stop() {
        server.stop(0);
    }

    private void answer(HttpExchange exchange) throws IOException {
        String path = exchange.getRequestURI().getPath().substring("/api/2.0/mlflow/".length());
        String text = new String(exchange.getRequestBody().readAllBytes(), StandardCharsets.UTF_8);
        calls.add(new Call(
                exchange.getRequestMethod(),
                path,
                String.valueOf(exchange.getRequestURI().getRawQuery()),
                String.valueOf(exchange.getRequestHeaders().getFirst("Authorization")),
                ReportedRun.json(text.isEmpty() ? "{}" : text)));
        if (broken) {
            reply(exchange, 500, "{\"error_code\": \"INTERNAL_ERROR\", \"message\": \"no database\"}");
        } else if (path.equals("experiments/get-by-name") && !experimentIsThere) {
            reply(exchange, 404, "{\"error_code\": \"RESOURCE_DOES_NOT_EXIST\", \"message\": \"none\"}");
        } else if (path.equals("experiments/get-by-name")) {
            reply(exchange, 200, "{\"experiment\": {\"experiment_id\": \"7\"}}");
        } else if (path.equals("experiments/create")) {
            reply(exchange, 200, "{\"experiment_id\": \"8\"}");
        } else if (path.equals("runs/create")) {
            reply(exchange, 200, "{\"run\": {\"info\": {\"run_id\": \"abc\"}}}");
        } else {
            reply(exchange, 200, "{}");
        }
    }

    private static void reply(HttpExchange exchange, int code, String json) throws IOException {
        byte[] bytes = json.getBytes(StandardCharsets.UTF_8);
        exchange.sendResponseHeaders(code, bytes.length);
        exchange.getResponseBody().write(bytes);
        exchange.close();
    }

    private Map<String, String> environment(String... more) {
        Map<String, String> variables = new LinkedHashMap<>();
        variables.put(
                "MLFLOW_TRACKING_URI",
                "http://127.0.0.1:%d/".formatted(server.getAddress().getPort()));
        for (int i = 0; i < more.length; i += 2) {
            variables.put(more[i], more[i + 1]);
        }
        return variables;
    }

    private MlflowRun begin(Map<String, String> settings) {
        return MlflowRun.begin(
                MlflowTracking.of(environment("MLFLOW_EXPERIMENT_NAME", "long texts")),
                "first",
                settings,
                Map.of("output_dir", "out"),
                ReportedRun.CLOCK);
    }

    private List<Call> calls(String path) {
        return calls.stream().filter(call -> call.path().equals(path)).toList();
    }

    @Test
    void tellsSettingsMetricsAndTheEnd() {
        MlflowRun run = begin(Map.of("learning_rate", "1e-4"));
        run.accept(new RankEvent.Logged(0, 2, Map.of("loss", 3.5, "grad_norm", Double.NaN)));
        run.accept(new RankEvent.Logged(0, 2, Map.of("rewards/margins", 0.25)));

        run.end(RunRecord.Ending.DONE);

        assertThat(calls("experiments/get-by-name").get(0).query()).isEqualTo("experiment_name=long+texts");
        assertThat(calls("experiments/create").get(0).body().path("name").asText())
                .isEqualTo("long texts");
        JsonNode created = calls("runs/create").get(0).body();
        assertThat(created.path("experiment_id").asText()).isEqualTo("8");
        assertThat(created.path("run_name").asText()).isEqualTo("first");
        assertThat(created.path("start_time").asLong())
                .isEqualTo(ReportedRun.CLOCK.instant().toEpochMilli());
        assertThat(created.path("tags").toString()).contains("{\"key\":\"output_dir\",\"value\":\"out\"}");
        List<Call> batches = calls("runs/log-batch");
        assertThat(batches).allSatisfy(call -> {
            assertThat(call.method()).isEqualTo("POST");
            assertThat(call.body().path("run_id").asText()).isEqualTo("abc");
        });
        assertThat(batches.get(0).body().path("params").toString())
                .isEqualTo("[{\"key\":\"learning_rate\",\"value\":\"1e-4\"}]");
        assertThat(batches.get(1).body().path("metrics").toString())
                .isEqualTo(
                        "[{\"key\":\"loss\",\"value\":3.5,\"timestamp\":1767323045000,\"step\":2},{\"key\":\"rewards/margins\",\"value\":0.25,\"timestamp\":1767323045000,\"step\":2}]");
        JsonNode updated = calls("runs/update").get(0).body();
        assertThat(updated.path("status").asText()).isEqualTo("FINISHED");
        assertThat(updated.path("end_time").asLong()).isPositive();
    }

    @Test
    void keepsToTheLimitsOfACall() {
        Map<String, String> settings = new LinkedHashMap<>();
        IntStream.range(0, 230).forEach(i -> settings.put("key" + i, "x".repeat(2000)));
        MlflowRun run = begin(settings);
        IntStream.rangeClosed(1, 1500)
                .forEach(step -> run.accept(new RankEvent.Logged(0, step, Map.of("loss", (double) step))));

        run.end(RunRecord.Ending.FAILED);

        assertThat(calls("runs/log-batch"))
                .extracting(call -> call.body().path("params").size()
                        + call.body().path("metrics").size())
                .containsExactly(100, 100, 30, 1000, 500);
        assertThat(StreamSupport.stream(
                        calls("runs/log-batch").get(0).body().path("params").spliterator(), false))
                .allSatisfy(pair -> assertThat(pair.path("value").asText()).hasSize(500));
        assertThat(calls("runs/update").get(0).body().path("status").asText()).isEqualTo("FAILED");
    }

    @Test
    void findsTheExperimentAndSaysWhoAsks() {
        experimentIsThere = true;

        String id = MlflowTracking.of(environment("MLFLOW_TRACKING_USERNAME", "me", "MLFLOW_TRACKING_PASSWORD", "pw"))
                .experimentId();
        MlflowTracking.of(environment("MLFLOW_TRACKING_TOKEN", "secret")).experimentId();

        assertThat(id).isEqualTo("7");
        assertThat(calls).extracting(Call::authorization).containsExactly("Basic bWU6cHc=", "Bearer secret");
        assertThat(calls.get(0).query()).isEqualTo("experiment_name=Default");
    }

    @Test
    void aServerThatBreaksLaterDoesNotEndTheRun() {
        MlflowRun run = begin(Map.of());
        broken = true;
        run.accept(new RankEvent.Logged(0, 1, Map.of("loss", 1.0)));

        run.end(RunRecord.Ending.DONE);

        assertThat(calls("runs/update")).hasSize(1);
    }

    @Test
    void refusesToBeginWithoutAServer() {
        broken = true;

        assertThatThrownBy(() -> begin(Map.of()))
                .isInstanceOf(LaunchException.class)
                .hasMessageContaining(
                        "answered 500 to /api/2.0/mlflow/experiments/get-by-name: INTERNAL_ERROR no database; see whether it runs");
        stop();
        assertThatThrownBy(() -> begin(Map.of()))
                .isInstanceOf(LaunchException.class)
                .hasMessageContaining("can't be reached");
    }

    @Test
    void refusesToBeToldNoServer() {
        assertThatThrownBy(() -> MlflowTracking.of(Map.of()))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining(
                        "report_to mlflow needs a place for runs, but MLFLOW_TRACKING_URI is not set; set it to http://HOST:PORT of a tracking server or to a folder, file:///FOLDER, or leave mlflow out");
        assertThatThrownBy(() -> MlflowTracking.of(Map.of("MLFLOW_TRACKING_URI", "databricks")))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("MLFLOW_TRACKING_URI is databricks; set it to");
    }
}
