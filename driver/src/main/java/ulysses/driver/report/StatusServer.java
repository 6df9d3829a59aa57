package ulysses.driver.report;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.UnknownHostException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.regex.Pattern;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankEvent;

/**
 * Shows a run on the driver while it goes on: {@code /} is a page that needs nothing else and refreshes itself, {@code /status.json} is
 * what it shows. It only answers reads, and knows no secret: names and passwords in addresses are masked.
 */
final class StatusServer implements RunFollower {
    private static final Logger LOG = LoggerFactory.getLogger(StatusServer.class);
    private static final String PAGE = "status.html";
    private static final String STYLE = "/* style */";
    private static final int THREADS = 2;
    private static final int OK = 200;
    private static final int FORBIDDEN = 403;
    private static final int NOT_FOUND = 404;
    private static final int NOT_ALLOWED = 405;
    /** Names of this machine for itself: a page of somebody else that a name server sends here has another one. */
    private static final Pattern LOOPBACK = Pattern.compile("(localhost|127\\.[0-9.]+|\\[::1\\])(:[0-9]+)?");

    private static final String POLICY =
            "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:";

    private final HttpServer server;
    private final LiveRun run;
    private final byte[] page;
    private final ExecutorService answers = Executors.newFixedThreadPool(THREADS, work -> {
        Thread thread = new Thread(work, "status-page");
        thread.setDaemon(true);
        return thread;
    });

    private StatusServer(HttpServer server, LiveRun run) {
        this.server = server;
        this.run = run;
        this.page = page();
    }

    /**
     * Refuses an address that can't be listened at, before anything is begun.
     *
     * @throws ConfigException if it can't
     */
    static void check(TrainingConfig.StatusPage wish) {
        try (ServerSocket trial = new ServerSocket()) {
            trial.bind(address(wish));
        } catch (IOException e) {
            throw taken(wish, e);
        }
    }

    /**
     * Listens from now on.
     *
     * @throws ConfigException if it can't
     */
    static StatusServer start(TrainingConfig.StatusPage wish, LiveRun run) {
        StatusServer status = new StatusServer(bind(wish), run);
        status.server.createContext("/", status::answer);
        status.server.setExecutor(status.answers);
        status.server.start();
        LOG.info("status page: {}", status.address());
        return status;
    }

    private static HttpServer bind(TrainingConfig.StatusPage wish) {
        try {
            return HttpServer.create(address(wish), 0);
        } catch (IOException e) {
            throw taken(wish, e);
        }
    }

    private static InetSocketAddress address(TrainingConfig.StatusPage wish) throws UnknownHostException {
        return new InetSocketAddress(InetAddress.getByName(wish.host()), wish.port());
    }

    private static ConfigException taken(TrainingConfig.StatusPage wish, IOException why) {
        return new ConfigException(
                "status page",
                List.of(
                        "status_port %d at status_host %s can't be listened at (%s); choose another port, or 0 for a free one"
                                .formatted(wish.port(), wish.host(), why.getMessage())));
    }

    private static byte[] page() {
        try (InputStream in = StatusServer.class.getResourceAsStream(PAGE)) {
            if (in == null) {
                throw new IllegalStateException(PAGE + " is not on the class path");
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8)
                    .replace(STYLE, PageStyle.CSS)
                    .getBytes(StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** What to open in a browser. */
    String address() {
        InetAddress at = server.getAddress().getAddress();
        String host = at.isAnyLocalAddress() ? hostName() : at.getHostAddress();
        return "http://%s:%d/"
                .formatted(
                        host.contains(":") ? "[" + host + "]" : host,
                        server.getAddress().getPort());
    }

    private static String hostName() {
        try {
            return InetAddress.getLocalHost().getHostName();
        } catch (UnknownHostException e) {
            return "localhost";
        }
    }

    private void answer(HttpExchange exchange) throws IOException {
        try (exchange) {
            String path = exchange.getRequestURI().getPath();
            if (!List.of("GET", "HEAD").contains(exchange.getRequestMethod())) {
                send(exchange, NOT_ALLOWED, "text/plain", text("only GET and HEAD are answered\n"));
            } else if (!isMeantForUs(exchange)) {
                send(exchange, FORBIDDEN, "text/plain", text("ask for localhost\n"));
            } else if (path.equals("/")) {
                exchange.getResponseHeaders().set("Content-Security-Policy", POLICY);
                send(exchange, OK, "text/html; charset=utf-8", page);
            } else if (path.equals("/status.json")) {
                send(exchange, OK, "application/json", text(run.json()));
            } else {
                send(exchange, NOT_FOUND, "text/plain", text("there are / and /status.json\n"));
            }
        } catch (RuntimeException e) { // must not end the thread that answers
            LOG.warn("the status page failed", e);
        }
    }

    private boolean isMeantForUs(HttpExchange exchange) {
        String host = exchange.getRequestHeaders().getFirst("Host");
        return !server.getAddress().getAddress().isLoopbackAddress()
                || (host != null && LOOPBACK.matcher(host).matches());
    }

    private static void send(HttpExchange exchange, int code, String type, byte[] body) throws IOException {
        exchange.getResponseHeaders().set("Content-Type", type);
        exchange.getResponseHeaders().set("Cache-Control", "no-store");
        exchange.getResponseHeaders().set("X-Content-Type-Options", "nosniff");
        boolean headOnly = exchange.getRequestMethod().equals("HEAD");
        exchange.sendResponseHeaders(code, headOnly ? -1 : body.length);
        if (!headOnly) {
            try (OutputStream out = exchange.getResponseBody()) {
                out.write(body);
            }
        }
    }

    private static byte[] text(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    @Override
    public void accept(RankEvent event) {
        run.accept(event);
    }

    @Override
    public void end(RunRecord.Ending ending) {
        server.stop(0);
        answers.shutdown();
    }
}
