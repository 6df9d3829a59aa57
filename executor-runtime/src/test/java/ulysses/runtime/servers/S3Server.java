package ulysses.runtime.servers;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;

/**
 * A real S3 server, S3Proxy, in a process of its own with a class path of its own; one for all tests. It ends with this JVM, however
 * that ends: the shell that started it waits for the end of its input.
 */
public final class S3Server {
    private static final String BUCKET = "runs";
    private static final Path JARS = Path.of("target", "s3proxy");
    private static final long START_NANOS = 60_000_000_000L;

    private static @Nullable S3Server shared;

    private final int port;

    private S3Server() throws IOException, InterruptedException {
        Path folder = QuickDisk.folder("s3");
        Files.createDirectories(folder.resolve("data").resolve(BUCKET));
        this.port = freePort();
        Path properties =
                Files.writeString(folder.resolve("s3proxy.conf"), """
                s3proxy.endpoint=http://127.0.0.1:%d
                s3proxy.authorization=none
                s3proxy.ignore-unknown-headers=true
                jclouds.provider=filesystem-nio2
                jclouds.filesystem.basedir=%s
                """.formatted(port, folder.resolve("data")));
        Path logback = Files.writeString(folder.resolve("logback.xml"), """
                <configuration>
                  <appender name="err" class="ch.qos.logback.core.ConsoleAppender">
                    <target>System.err</target>
                    <encoder><pattern>%d %level %logger %msg%n</pattern></encoder>
                  </appender>
                  <root level="WARN"><appender-ref ref="err"/></root>
                </configuration>
                """);
        String java = Path.of(System.getProperty("java.home"), "bin", "java").toString();
        String command =
                "'%s' -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 -Dlogback.configurationFile='%s' -cp '%s/*' org.gaul.s3proxy.Main --properties '%s' & server=$!; cat > /dev/null; kill -9 $server"
                        .formatted(java, logback, JARS.toAbsolutePath(), properties);
        Process shell = new ProcessBuilder("sh", "-c", command)
                .redirectErrorStream(true)
                .redirectOutput(folder.resolve("log").toFile())
                .start();
        awaitPort(shell, folder.resolve("log"));
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
            return socket.getLocalPort();
        }
    }

    private void awaitPort(Process shell, Path log) throws IOException, InterruptedException {
        long deadline = System.nanoTime() + START_NANOS;
        while (!answers()) {
            if (System.nanoTime() > deadline || !shell.isAlive()) {
                throw new AssertionError("S3Proxy does not answer: " + Files.readString(log));
            }
            Thread.sleep(50);
        }
    }

    private boolean answers() {
        try (Socket socket = new Socket()) {
            socket.connect(new InetSocketAddress(InetAddress.getLoopbackAddress(), port), 1000);
            return true;
        } catch (IOException e) {
            return false;
        }
    }

    /** The one of this JVM; started by the first call. */
    public static synchronized S3Server shared() {
        if (shared == null) {
            try {
                shared = new S3Server();
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new IllegalStateException(e);
            }
        }
        return shared;
    }

    /** Where it listens. */
    public int port() {
        return port;
    }

    /** What a client needs to know that talks to it directly. */
    public Configuration configuration() {
        return configuration(port);
    }

    /** What a client needs to know that talks to {@code port}. */
    public static Configuration configuration(int port) {
        Configuration conf = new Configuration();
        conf.set("fs.s3a.endpoint", "http://127.0.0.1:" + port);
        conf.set("fs.s3a.endpoint.region", "us-east-1");
        conf.set("fs.s3a.path.style.access", "true");
        conf.set("fs.s3a.connection.ssl.enabled", "false");
        conf.set("fs.s3a.access.key", "anyone");
        conf.set("fs.s3a.secret.key", "anything");
        conf.set("fs.s3a.fast.upload.buffer", "array");
        conf.set("fs.s3a.retry.interval", "20ms");
        conf.set("fs.s3a.retry.throttle.interval", "20ms");
        conf.set("fs.s3a.impl.disable.cache", "true"); // ports differ, names do not
        return conf;
    }

    /** The folder {@code name}. */
    public static String folder(String name) {
        return "s3a://" + BUCKET + "/" + name;
    }
}
