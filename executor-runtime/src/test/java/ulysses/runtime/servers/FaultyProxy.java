package ulysses.runtime.servers;

import java.io.ByteArrayOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;

/**
 * A bad line to a server: passes HTTP requests on, one a connection, and by a seeded draw cuts a request in the middle of its body,
 * hides the answer of one that was carried out, answers 503, or is slow.
 */
public final class FaultyProxy implements AutoCloseable {
    private static final String SLOW_DOWN =
            "<?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Reduce your request rate.</Message></Error>";
    private static final int SLOW_MILLIS = 200;

    private final ServerSocket server;
    private final int target;
    private final Random random;
    private final double share;
    private final AtomicInteger faults = new AtomicInteger();

    /**
     * In front of {@code target}.
     *
     * @param share of requests that go wrong
     */
    public FaultyProxy(int target, long seed, double share) throws IOException {
        this.server = new ServerSocket(0, 50, InetAddress.getLoopbackAddress());
        this.target = target;
        this.random = new Random(seed);
        this.share = share;
        Thread accepting = new Thread(this::accept, "faulty-proxy");
        accepting.setDaemon(true);
        accepting.start();
    }

    private enum Fault {
        NONE,
        CUT_REQUEST,
        HIDE_ANSWER,
        UNAVAILABLE,
        SLOW
    }

    /** Where it listens. */
    public int port() {
        return server.getLocalPort();
    }

    /** Requests that went wrong so far. */
    public int faults() {
        return faults.get();
    }

    private synchronized Fault draw() {
        if (random.nextDouble() >= share) {
            return Fault.NONE;
        }
        faults.incrementAndGet();
        return Fault.values()[1 + random.nextInt(Fault.values().length - 1)];
    }

    private void accept() {
        while (!server.isClosed()) {
            try {
                Socket client = server.accept();
                Thread serving = new Thread(() -> serve(client), "faulty-proxy-connection");
                serving.setDaemon(true);
                serving.start();
            } catch (IOException e) {
                return; // closed
            }
        }
    }

    private void serve(Socket client) {
        try (client;
                Socket upstream = new Socket(InetAddress.getLoopbackAddress(), target)) {
            InputStream in = client.getInputStream();
            List<String> head = head(in);
            if (head.isEmpty()) {
                return;
            }
            Fault fault = draw();
            if (fault == Fault.UNAVAILABLE) {
                client.getOutputStream().write(answer503());
                return;
            }
            if (fault == Fault.SLOW) {
                Thread.sleep(SLOW_MILLIS);
            }
            long length = length(head);
            if (head.stream().anyMatch(line -> line.toLowerCase(Locale.ROOT).startsWith("expect:"))) {
                client.getOutputStream().write("HTTP/1.1 100 Continue\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
            }
            OutputStream out = upstream.getOutputStream();
            out.write(forwarded(head));
            copy(in, out, fault == Fault.CUT_REQUEST ? length / 2 : length);
            if (fault == Fault.CUT_REQUEST) {
                return;
            }
            out.flush();
            ByteArrayOutputStream answer = new ByteArrayOutputStream();
            upstream.getInputStream().transferTo(answer);
            if (fault != Fault.HIDE_ANSWER) {
                client.getOutputStream().write(answer.toByteArray());
                client.getOutputStream().flush();
            }
        } catch (IOException e) {
            // one of the two hung up, as they may
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static byte[] answer503() {
        String head =
                "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
                        .formatted(SLOW_DOWN.length());
        return (head + SLOW_DOWN).getBytes(StandardCharsets.US_ASCII);
    }

    private static List<String> head(InputStream in) throws IOException {
        List<String> lines = new ArrayList<>();
        ByteArrayOutputStream line = new ByteArrayOutputStream();
        for (int next = in.read(); next >= 0; next = in.read()) {
            if (next == '\n') {
                String text = line.toString(StandardCharsets.ISO_8859_1).strip();
                if (text.isEmpty()) {
                    return lines;
                }
                lines.add(text);
                line.reset();
            } else {
                line.write(next);
            }
        }
        return List.of();
    }

    private static long length(List<String> head) {
        return head.stream()
                .filter(line -> line.toLowerCase(Locale.ROOT).startsWith("content-length:"))
                .mapToLong(line ->
                        Long.parseLong(line.substring(line.indexOf(':') + 1).strip()))
                .findFirst()
                .orElse(0);
    }

    private static byte[] forwarded(List<String> head) {
        StringBuilder text = new StringBuilder();
        for (String line : head) {
            String lower = line.toLowerCase(Locale.ROOT);
            if (!lower.startsWith("connection:") && !lower.startsWith("expect:")) {
                text.append(line).append("\r\n");
            }
        }
        return text.append("Connection: close\r\n\r\n").toString().getBytes(StandardCharsets.ISO_8859_1);
    }

    private static void copy(InputStream in, OutputStream out, long length) throws IOException {
        byte[] block = new byte[1 << 16];
        for (long left = length; left > 0; ) {
            int count = in.read(block, 0, (int) Math.min(block.length, left));
            if (count < 0) {
                throw new EOFException("the client hung up");
            }
            out.write(block, 0, count);
            left -= count;
        }
    }

    @Override
    public void close() throws IOException {
        server.close();
    }
}
