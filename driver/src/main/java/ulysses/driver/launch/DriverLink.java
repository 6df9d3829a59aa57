package ulysses.driver.launch;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** A task's connection to the driver's {@link ReportServer}, for as long as the task runs. */
final class DriverLink implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(DriverLink.class);
    private static final int CONNECT_MILLIS = 10_000;
    /** Signs of life of all tasks of this executor. */
    private static final ScheduledExecutorService SIGNS = Executors.newSingleThreadScheduledExecutor(work -> {
        Thread thread = new Thread(work, "driver-link-signs");
        thread.setDaemon(true);
        return thread;
    });

    private final RunAddress driver;
    private final RankReport.Hello hello;
    private Socket socket;
    private boolean closed;
    private final Future<?> signs;
    private volatile Runnable onStacksAsked = () -> {};

    private DriverLink(RunAddress driver, RankReport.Hello hello) throws IOException {
        this.driver = driver;
        this.hello = hello;
        this.socket = connect();
        this.signs = SIGNS.scheduleWithFixedDelay(() -> send(new RankReport.Alive()), 1, 1, TimeUnit.SECONDS);
    }

    /** Connects and says hello. */
    static DriverLink open(RunAddress driver, RankReport.Hello hello) {
        try {
            return new DriverLink(driver, hello);
        } catch (IOException e) {
            throw new LaunchException(
                    FailureKind.INFRASTRUCTURE,
                    ("task %d on %s can't reach the driver's report port %s within %d s (%s); open it in the firewall, or fix"
                                    + " it with --conf spark.ulysses.driver.port=N")
                            .formatted(hello.partition(), hello.host(), driver, CONNECT_MILLIS / 1000, e.getMessage()),
                    e);
        }
    }

    /** From now on {@code answer} runs, on the link's own thread, when the driver wants to see the stacks of the rank process. */
    void whenStacksAsked(Runnable answer) {
        onStacksAsked = answer;
    }

    /** The address of this machine on the way to the driver. */
    synchronized InetAddress localAddress() {
        return socket.getLocalAddress();
    }

    /** Reports to the driver; a broken connection is opened once more, then the report is dropped: Spark notices a lost driver. */
    synchronized void send(RankReport report) {
        if (closed) {
            return;
        }
        String line = JsonLines.write(report);
        try {
            write(socket, line);
        } catch (IOException broken) {
            try {
                socket.close();
                socket = connect();
                write(socket, line);
            } catch (IOException e) {
                LOG.warn("dropped a report to the driver at {}: {}", driver, e.getMessage());
            }
        }
    }

    @Override
    public synchronized void close() {
        closed = true;
        signs.cancel(false);
        try {
            socket.close();
        } catch (IOException e) {
            LOG.debug("closing", e);
        }
    }

    private Socket connect() throws IOException {
        Socket opened = new Socket();
        try {
            opened.connect(new InetSocketAddress(InetAddress.getByName(driver.host()), driver.port()), CONNECT_MILLIS);
            opened.setTcpNoDelay(true);
            write(opened, JsonLines.write(hello));
        } catch (IOException e) {
            opened.close();
            throw e;
        }
        Thread listener = new Thread(() -> listen(opened), "driver-link-" + hello.partition());
        listener.setDaemon(true);
        listener.start();
        return opened;
    }

    private void listen(Socket from) {
        try {
            BufferedReader lines =
                    new BufferedReader(new InputStreamReader(from.getInputStream(), StandardCharsets.US_ASCII));
            for (String line = lines.readLine(); line != null; line = lines.readLine()) {
                if (line.equals(ReportServer.STACKS)) {
                    onStacksAsked.run();
                }
            }
        } catch (IOException e) {
            LOG.debug("the link to the driver ended", e);
        }
    }

    private static void write(Socket to, String line) throws IOException {
        to.getOutputStream().write((line + "\n").getBytes(StandardCharsets.UTF_8));
    }
}
