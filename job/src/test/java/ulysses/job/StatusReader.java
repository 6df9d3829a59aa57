package ulysses.job;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.ServerSocket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;

/** Asks a run's status page over and over, as a script would, until it is closed. */
final class StatusReader implements AutoCloseable {
    private static final HttpClient HTTP =
            HttpClient.newBuilder().connectTimeout(Duration.ofSeconds(2)).build();

    private final int port;
    private final List<JsonNode> seen = new CopyOnWriteArrayList<>();
    private final Thread thread = new Thread(this::read, "status-reader");

    private StatusReader(int port) {
        this.port = port;
    }

    /** At a port that is free now, and that no connection is given as its own end: asking too early would take it. */
    static StatusReader start() {
        StatusReader reader = new StatusReader(IntStream.range(20_000, 30_000)
                .filter(StatusReader::isFree)
                .findFirst()
                .orElseThrow());
        reader.thread.setDaemon(true);
        reader.thread.start();
        return reader;
    }

    private static boolean isFree(int port) {
        try (ServerSocket trial = new ServerSocket(port)) {
            return trial.isBound();
        } catch (IOException e) {
            return false;
        }
    }

    int port() {
        return port;
    }

    /** All answers so far. */
    List<JsonNode> seen() {
        return List.copyOf(seen);
    }

    /** One answer; empty if nobody listens. */
    static Optional<JsonNode> ask(int port) throws InterruptedException {
        try {
            HttpRequest request = HttpRequest.newBuilder(URI.create("http://127.0.0.1:%d/status.json".formatted(port)))
                    .timeout(Duration.ofSeconds(5))
                    .build();
            String body =
                    HTTP.send(request, HttpResponse.BodyHandlers.ofString()).body();
            return Optional.of(new ObjectMapper().readTree(body));
        } catch (IOException e) {
            return Optional.empty();
        }
    }

    private void read() {
        try {
            while (true) {
                ask(port).ifPresent(seen::add);
                TimeUnit.MILLISECONDS.sleep(100);
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    @Override
    public void close() {
        thread.interrupt();
    }
}
