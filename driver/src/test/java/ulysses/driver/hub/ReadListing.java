package ulysses.driver.hub;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Comparator;
import java.util.Map;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.hub.ModelHub.Parts;

/** A hub whose list of a model's files is whatever lies in a file; each file of the model is the same few bytes. */
public final class ReadListing {
    private static final byte[] CONTENT = "{}".getBytes(StandardCharsets.UTF_8);
    private static final String CHECKSUM = "9e26dfeeb6e641a33dae4961196235bdb965b21b"; // git's, of CONTENT

    private final Path listing;
    private final Path cache;
    private final ModelHub client;

    private ReadListing(Path listing, Path cache) throws IOException {
        this.listing = listing;
        this.cache = cache;
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.createContext("/", this::answer);
        server.start(); // until the JVM ends
        this.client = ModelHub.of(
                Map.of("HF_ENDPOINT", "http://127.0.0.1:" + server.getAddress().getPort(), "HF_HOME", cache.toString()),
                null,
                new Configuration(false),
                line -> {},
                Duration.ofSeconds(5),
                Duration.ofMillis(1));
    }

    /** One that keeps what it finds in {@code cache}. */
    public static ReadListing of(Path listing, Path cache) throws IOException {
        return new ReadListing(listing, cache);
    }

    private void answer(HttpExchange exchange) throws IOException {
        boolean list = exchange.getRequestURI().getPath().startsWith("/api/");
        byte[] body = list ? Files.readAllBytes(listing) : CONTENT;
        exchange.getResponseHeaders().set("ETag", "\"" + CHECKSUM + "\"");
        boolean head = exchange.getRequestMethod().equals("HEAD");
        exchange.getResponseHeaders().set("Content-Length", Integer.toString(body.length));
        exchange.sendResponseHeaders(200, head || body.length == 0 ? -1 : body.length);
        if (!head) {
            exchange.getResponseBody().write(body);
        }
        exchange.close();
    }

    /** Asks for the model, with nothing of it in the cache. */
    public void model() throws IOException, InterruptedException {
        try (var files = Files.exists(cache) ? Files.walk(cache) : Stream.<Path>empty()) {
            files.sorted(Comparator.reverseOrder()).forEach(ReadListing::delete);
        }
        client.folder("model_name_or_path", "someone/some-model", "main", Parts.MODEL);
    }

    private static void delete(Path path) {
        try {
            Files.delete(path);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
