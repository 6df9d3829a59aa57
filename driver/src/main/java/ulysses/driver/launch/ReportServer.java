package ulysses.driver.launch;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketTimeoutException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.Base64;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import org.jspecify.annotations.Nullable;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Takes the reports of tasks on the driver while the barrier stage runs: one connection a task, one JSON line a report. Spark's own
 * channel for this needs {@code spark.plugins} to be set before the context starts; a socket works with any spark-submit.
 */
final class ReportServer implements AutoCloseable {

    /** The only line that goes the other way: asks tasks for the stacks of their rank process. */
    static final String STACKS = "stacks";

    private static final Logger LOG = LoggerFactory.getLogger(ReportServer.class);
    /** All tasks of a stage connect at once; who is not let in waits for a second, then three, then seven. */
    private static final int WAITING = 4096;

    private static final int HELLO_MILLIS = 10_000;
    private static final int HELLO_BYTES = 4096;

    /** Gets every report after the hello of its connection; called by several threads. */
    interface Sink {
        void accept(RankReport.Hello from, RankReport report);
    }

    private final ServerSocket server;
    private final String token;
    private final Sink sink;
    private final Duration patience;
    private final Set<Socket> connections = ConcurrentHashMap.newKeySet();
    /** The newest connection of each task. */
    private final Map<Integer, Socket> newest = new ConcurrentHashMap<>();

    private ReportServer(ServerSocket server, Duration patience, Sink sink) {
        this.server = server;
        this.token = randomToken();
        this.patience = patience;
        this.sink = sink;
    }

    /**
     * Listens at {@code bindHost}; {@code port} 0 takes any free one.
     *
     * @param patience how long a task that is connected may say nothing; then its report is {@link RankReport.Silent}
     */
    static ReportServer open(String bindHost, int port, Duration patience, Sink sink) throws IOException {
        ServerSocket socket = new ServerSocket();
        socket.bind(new InetSocketAddress(InetAddress.getByName(bindHost), port), WAITING);
        ReportServer server = new ReportServer(socket, patience, sink);
        start("rank-reports", server::acceptAll);
        return server;
    }

    /** What a task of this run needs to be let in when it reaches this machine as {@code host}. */
    RunAddress address(String host) {
        return new RunAddress(host, server.getLocalPort(), token);
    }

    /** Asks every connected task for the stacks of its rank process; answers arrive as reports. */
    void askForStacks() {
        for (Socket connection : connections) {
            try {
                connection.getOutputStream().write((STACKS + "\n").getBytes(StandardCharsets.US_ASCII));
            } catch (IOException e) {
                LOG.debug("a task is gone: {}", connection, e);
            }
        }
    }

    /** Whether a task is connected that has not said its last word. */
    boolean hasConnections() {
        return !connections.isEmpty();
    }

    @Override
    public void close() {
        closeQuietly(server);
        connections.forEach(ReportServer::closeQuietly);
    }

    private void acceptAll() {
        while (!server.isClosed()) {
            try {
                Socket connection = server.accept();
                start("rank-reports-" + connection.getPort(), () -> serve(connection));
            } catch (IOException e) {
                if (!server.isClosed()) {
                    LOG.warn("can't accept reports of ranks", e);
                }
            }
        }
    }

    private void serve(Socket connection) {
        try (connection) {
            RankReport.@Nullable Hello hello = welcome(connection);
            if (hello == null) {
                LOG.warn("refused a connection from {}: it has no token of this run", connection.getInetAddress());
                return;
            }
            connections.add(connection);
            newest.put(hello.partition(), connection);
            sink.accept(hello, hello);
            listen(connection, hello);
        } catch (IOException e) {
            if (!server.isClosed()) {
                LOG.debug("a task's connection ended", e);
            }
        } finally {
            connections.remove(connection);
        }
    }

    private void listen(Socket connection, RankReport.Hello from) throws IOException {
        connection.setSoTimeout(Math.toIntExact(patience.toMillis()));
        BufferedReader lines =
                new BufferedReader(new InputStreamReader(connection.getInputStream(), StandardCharsets.UTF_8));
        try {
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                sink.accept(from, JsonLines.read(line, RankReport.class));
            }
        } catch (SocketTimeoutException silent) {
            if (connection.equals(newest.get(from.partition()))) { // else the task has connected anew
                sink.accept(from, new RankReport.Silent(patience.toSeconds()));
            }
        }
    }

    private RankReport.@Nullable Hello welcome(Socket connection) throws IOException {
        connection.setSoTimeout(HELLO_MILLIS);
        String line = firstLine(connection.getInputStream());
        connection.setTcpNoDelay(true);
        if (!line.startsWith("{")) {
            return null;
        }
        RankReport report = JsonLines.read(line, RankReport.class);
        return report instanceof RankReport.Hello hello && isOurs(hello.token()) ? hello : null;
    }

    private boolean isOurs(@Nullable String offered) {
        return offered != null
                && MessageDigest.isEqual(
                        token.getBytes(StandardCharsets.UTF_8), offered.getBytes(StandardCharsets.UTF_8));
    }

    /** Byte by byte and bounded: whoever has not shown the token yet gets no buffer of ours. */
    private static String firstLine(InputStream in) throws IOException {
        byte[] line = new byte[HELLO_BYTES];
        int length = 0;
        for (int next = in.read(); next >= 0 && next != '\n' && length < HELLO_BYTES; next = in.read()) {
            line[length++] = (byte) next;
        }
        return new String(line, 0, length, StandardCharsets.UTF_8);
    }

    private static String randomToken() {
        byte[] bytes = new byte[24];
        new SecureRandom().nextBytes(bytes);
        return Base64.getUrlEncoder().withoutPadding().encodeToString(bytes);
    }

    private static void start(String name, Runnable body) {
        Thread thread = new Thread(body, name);
        thread.setDaemon(true);
        thread.start();
    }

    private static void closeQuietly(AutoCloseable socket) {
        try {
            socket.close();
        } catch (Exception e) {
            LOG.debug("closing", e);
        }
    }
}
