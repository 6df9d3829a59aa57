package ulysses.driver.hub;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Random;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Collectors;

/**
 * One model as huggingface.co serves it: {@code /api/models/ID/revision/REV} and {@code /ID/resolve/REV/FILE}; small files by git's
 * checksum in ETag, large ones by a redirect to a second server, with X-Linked-ETag and X-Linked-Size. It misbehaves on demand.
 */
final class StandInHub implements AutoCloseable {
    static final String COMMIT = "0123456789abcdef0123456789abcdef01234567";

    private final HttpServer hub;
    private final HttpServer store;
    private final ExecutorService threads = Executors.newCachedThreadPool();
    private final Map<String, byte[]> files = new LinkedHashMap<>();
    private final List<String> large = new CopyOnWriteArrayList<>();
    private final List<String> requests = new CopyOnWriteArrayList<>();
    private final Map<String, Integer> damaged = new LinkedHashMap<>();
    private volatile String oldName = "";
    private volatile String reason = "";
    private volatile int refusal;
    private final AtomicInteger busy = new AtomicInteger();
    private final AtomicInteger cuts = new AtomicInteger();
    private volatile int cutAfter;
    private volatile boolean ranges = true;
    private volatile CountDownLatch asking = new CountDownLatch(0);

    StandInHub() throws IOException {
        hub = server();
        store = server();
        hub.createContext("/", this::answer);
        store.createContext(
                "/",
                exchange -> bytes(exchange, exchange.getRequestURI().getPath().substring(1)));
    }

    private HttpServer server() throws IOException {
        HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getLoopbackAddress(), 0), 0);
        server.setExecutor(threads);
        server.start();
        return server;
    }

    StandInHub small(String name, String text) {
        files.put(name, text.getBytes(StandardCharsets.UTF_8));
        return this;
    }

    StandInHub large(String name, int size) {
        byte[] bytes = new byte[size];
        new Random(size).nextBytes(bytes);
        files.put(name, bytes);
        large.add(name);
        return this;
    }

    StandInHub remove(String name) {
        files.remove(name);
        return this;
    }

    /** Cuts the next {@code times} answers of the store after {@code bytes}. */
    StandInHub cutAfter(int bytes, int times) {
        cutAfter = bytes;
        cuts.set(times);
        return this;
    }

    /** The store answers when {@code clients} have asked the hub for the model, but after 3 s in any case. */
    StandInHub waitingFor(int clients) {
        asking = new CountDownLatch(clients);
        return this;
    }

    StandInHub withoutRanges() {
        ranges = false;
        return this;
    }

    void damage(String name, int times) {
        damaged.put(name, times);
    }

    void busy(int times) {
        busy.set(times);
    }

    void refuse(int code, String why) {
        refusal = code;
        reason = why;
    }

    void renamedFrom(String name) {
        oldName = name;
    }

    String endpoint() {
        return "http://localhost:" + hub.getAddress().getPort();
    }

    byte[] bytes(String name) {
        return Objects.requireNonNull(files.get(name));
    }

    /** SHA-256 of large files, git's SHA-1 of small ones. */
    String etag(String name) {
        try {
            byte[] bytes = bytes(name);
            MessageDigest digest = MessageDigest.getInstance(large.contains(name) ? "SHA-256" : "SHA-1");
            if (!large.contains(name)) {
                digest.update(("blob " + bytes.length + "\0").getBytes(StandardCharsets.US_ASCII));
            }
            return HexFormat.of().formatHex(digest.digest(bytes));
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }

    /** What {@code hub} or {@code store} was asked: method, path, range and authorization, - for none. */
    List<String> asked(String server) {
        return requests.stream()
                .filter(request -> request.startsWith(server + " "))
                .toList();
    }

    private void note(String server, HttpExchange exchange) {
        String range = exchange.getRequestHeaders().getFirst("Range");
        String authorization = exchange.getRequestHeaders().getFirst("Authorization");
        requests.add("%s %s %s %s %s"
                .formatted(
                        server,
                        exchange.getRequestMethod(),
                        exchange.getRequestURI().getRawPath(),
                        range == null ? "-" : range,
                        authorization == null ? "-" : authorization));
    }

    private void answer(HttpExchange exchange) throws IOException {
        note("hub", exchange);
        String path = exchange.getRequestURI().getPath();
        if (busy.getAndDecrement() > 0) {
            reply(exchange, 503, new byte[0]);
        } else if (refusal > 0) {
            exchange.getResponseHeaders().set("X-Error-Code", reason);
            reply(exchange, refusal, new byte[0]);
        } else if (!oldName.isEmpty() && path.contains("/" + oldName + "/")) {
            String raw = exchange.getRequestURI().getRawPath();
            exchange.getResponseHeaders().set("Location", raw.replace("/" + oldName + "/", "/some-model/"));
            reply(exchange, 307, new byte[0]);
        } else if (path.startsWith("/api/models/someone/some-model/revision/")) {
            asking.countDown();
            String siblings = files.keySet().stream()
                    .map("{\"rfilename\": \"%s\"}"::formatted)
                    .collect(Collectors.joining(", "));
            String json = "{\"sha\": \"%s\", \"siblings\": [%s]}".formatted(COMMIT, siblings);
            reply(exchange, 200, json.getBytes(StandardCharsets.UTF_8));
        } else if (path.startsWith("/someone/some-model/resolve/" + COMMIT + "/")) {
            file(exchange, path.substring(path.lastIndexOf('/') + 1));
        } else {
            reply(exchange, 404, new byte[0]);
        }
    }

    private void file(HttpExchange exchange, String name) throws IOException {
        if (!files.containsKey(name)) {
            exchange.getResponseHeaders().set("X-Error-Code", "EntryNotFound");
            reply(exchange, 404, new byte[0]);
        } else if (large.contains(name)) {
            exchange.getResponseHeaders().set("X-Linked-ETag", "\"" + etag(name) + "\"");
            exchange.getResponseHeaders().set("X-Linked-Size", Integer.toString(bytes(name).length));
            exchange.getResponseHeaders()
                    .set("Location", "http://127.0.0.1:" + store.getAddress().getPort() + "/" + name);
            reply(exchange, 302, new byte[0]);
        } else {
            exchange.getResponseHeaders().set("ETag", "\"" + etag(name) + "\"");
            reply(exchange, 200, sent(name));
        }
    }

    private byte[] sent(String name) {
        byte[] bytes = bytes(name).clone();
        if (damaged.merge(name, -1, Integer::sum) >= 0) {
            bytes[bytes.length / 2] ^= 1;
        }
        return bytes;
    }

    private void bytes(HttpExchange exchange, String name) throws IOException {
        note("store", exchange);
        try {
            var unused = asking.await(3, TimeUnit.SECONDS);
        } catch (InterruptedException e) {
            throw new IOException("the store was closed", e);
        }
        byte[] bytes = sent(name);
        String range = exchange.getRequestHeaders().getFirst("Range");
        int from = range == null || !ranges ? 0 : Integer.parseInt(range.replaceAll("bytes=(\\d+)-", "$1"));
        if (from > 0) {
            exchange.getResponseHeaders()
                    .set("Content-Range", "bytes %d-%d/%d".formatted(from, bytes.length - 1, bytes.length));
        }
        byte[] rest = Arrays.copyOfRange(bytes, from, bytes.length);
        exchange.sendResponseHeaders(from > 0 ? 206 : 200, rest.length);
        if (cuts.getAndDecrement() > 0) {
            exchange.getResponseBody().write(rest, 0, cutAfter);
            exchange.getResponseBody().flush();
            throw new IOException("cut on purpose"); // the server closes the connection
        }
        exchange.getResponseBody().write(rest);
        exchange.close();
    }

    private static void reply(HttpExchange exchange, int code, byte[] body) throws IOException {
        boolean head = exchange.getRequestMethod().equals("HEAD");
        if (head) {
            exchange.getResponseHeaders().set("Content-Length", Integer.toString(body.length));
        }
        exchange.sendResponseHeaders(code, head || body.length == 0 ? -1 : body.length);
        if (!head) {
            exchange.getResponseBody().write(body);
        }
        exchange.close();
    }

    @Override
    public void close() {
        hub.stop(0);
        store.stop(0);
        threads.shutdownNow();
    }
}
