package ulysses.driver.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import ulysses.driver.launch.FailureKind;
import ulysses.driver.launch.LaunchException;

/** An MLflow tracking server, by its REST API 2.0. */
final class MlflowServer implements MlflowTracking {
    private static final String TOKEN_VARIABLE = "MLFLOW_TRACKING_TOKEN";
    private static final String USER_VARIABLE = "MLFLOW_TRACKING_USERNAME";
    private static final String PASSWORD_VARIABLE = "MLFLOW_TRACKING_PASSWORD";
    private static final String NOT_THERE = "RESOURCE_DOES_NOT_EXIST";
    private static final Duration PATIENCE = Duration.ofSeconds(10);
    private static final ObjectMapper JSON = new ObjectMapper();

    private final HttpClient client = HttpClient.newBuilder()
            .connectTimeout(PATIENCE)
            .version(HttpClient.Version.HTTP_1_1)
            .build();
    private final URI base;
    private final Optional<String> authorization;
    private final String experiment;

    private MlflowServer(URI base, Optional<String> authorization, String experiment) {
        this.base = base;
        this.authorization = authorization;
        this.experiment = experiment;
    }

    /** The server at {@code base}; it is not asked yet. {@code environment} says who asks. */
    static MlflowServer of(URI base, Map<String, String> environment, String experiment) {
        return new MlflowServer(base, authorization(environment), experiment);
    }

    private static Optional<String> authorization(Map<String, String> environment) {
        if (environment.containsKey(TOKEN_VARIABLE)) {
            return Optional.of("Bearer " + environment.get(TOKEN_VARIABLE));
        }
        if (!environment.containsKey(USER_VARIABLE)) {
            return Optional.empty();
        }
        String pair = environment.get(USER_VARIABLE) + ":" + environment.getOrDefault(PASSWORD_VARIABLE, "");
        return Optional.of("Basic " + Base64.getEncoder().encodeToString(pair.getBytes(StandardCharsets.UTF_8)));
    }

    @Override
    public String experimentId() {
        String name = URLEncoder.encode(experiment, StandardCharsets.UTF_8);
        Answer found = ask(
                request("experiments/get-by-name?experiment_name=" + name).GET().build());
        if (found.code() == 200) {
            return found.body().path("experiment").path("experiment_id").asText();
        }
        if (!found.body().path("error_code").asText().equals(NOT_THERE)) {
            throw refused(found);
        }
        return post("experiments/create", JSON.createObjectNode().put("name", experiment))
                .path("experiment_id")
                .asText();
    }

    @Override
    public JsonNode post(String endpoint, ObjectNode body) {
        Answer answer = ask(request(endpoint)
                .header("Content-Type", "application/json")
                .POST(BodyPublishers.ofString(body.toString()))
                .build());
        if (answer.code() != 200) {
            throw refused(answer);
        }
        return answer.body();
    }

    private HttpRequest.Builder request(String endpoint) {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(base + "/api/2.0/mlflow/" + endpoint))
                .timeout(PATIENCE);
        authorization.ifPresent(value -> request.header("Authorization", value));
        return request;
    }

    private record Answer(int code, JsonNode body, String path) {}

    private Answer ask(HttpRequest request) {
        try {
            HttpResponse<String> response = client.send(request, BodyHandlers.ofString());
            return new Answer(
                    response.statusCode(), json(response.body()), request.uri().getPath());
        } catch (IOException e) {
            throw failure("can't be reached: " + e, e);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw failure("was not waited for", e);
        }
    }

    private static JsonNode json(String text) {
        try {
            return JSON.readTree(text);
        } catch (JsonProcessingException e) {
            return JSON.createObjectNode()
                    .put("message", text.lines().findFirst().orElse(""));
        }
    }

    private LaunchException refused(Answer answer) {
        String words = "%s %s"
                .formatted(
                        answer.body().path("error_code").asText(),
                        answer.body().path("message").asText());
        return failure("answered %d to %s: %s".formatted(answer.code(), answer.path(), words.strip()), null);
    }

    private LaunchException failure(String what, @Nullable Exception cause) {
        return new LaunchException(
                FailureKind.INFRASTRUCTURE,
                "MLflow at %s %s; see whether it runs and who may write to it, or leave mlflow out of report_to"
                        .formatted(RunArguments.masked(base.toString()), what),
                cause);
    }

    @Override
    public String toString() {
        return RunArguments.masked(base.toString());
    }
}
