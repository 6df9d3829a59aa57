package ulysses.job;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;

/** HDFS that asks for Kerberos: the process of executor-runtime's {@code SecureHdfsServer}. Its one user is alice. */
final class SecureHdfs implements AutoCloseable {
    private static final String END = "--";

    private final Path folder;
    private final Process server;
    private final PrintStream commands;
    private final BufferedReader answers;

    private SecureHdfs(Path folder, Process server) {
        this.folder = folder;
        this.server = server;
        this.commands = new PrintStream(server.getOutputStream(), true, StandardCharsets.UTF_8);
        this.answers = new BufferedReader(new InputStreamReader(server.getInputStream(), StandardCharsets.UTF_8));
    }

    /**
     * Starts it in {@code folder} and waits for it.
     *
     * @param tokenSeconds how long a token lives
     * @param build target folder of executor-runtime
     */
    static SecureHdfs start(Path folder, int tokenSeconds, Path build) throws IOException {
        Files.createDirectories(folder);
        List<String> line = new ArrayList<>(SparkInstallation.java());
        String classPath = String.join(
                File.pathSeparator,
                folder.toString(),
                build.resolve("test-classes").toString(),
                Files.readString(build.resolve("servers.classpath")).strip());
        line.addAll(List.of("-Xmx384m", "-cp", classPath, "ulysses.runtime.servers.SecureHdfsServer"));
        line.addAll(List.of(folder.toString(), String.valueOf(tokenSeconds)));
        Process server = new ProcessBuilder(line)
                .redirectError(folder.resolve("servers.log").toFile())
                .start();
        SecureHdfs hdfs = new SecureHdfs(folder, server);
        hdfs.answer("its start");
        return hdfs;
    }

    /** What Hadoop's file system shell prints when HDFS' own user gives it {@code command}. */
    String shell(String command) throws IOException {
        commands.println(command);
        return answer(command);
    }

    private String answer(String command) throws IOException {
        StringBuilder printed = new StringBuilder();
        for (String line = answers.readLine(); line != null; line = answers.readLine()) {
            if (line.equals(END)) {
                return printed.toString();
            } else if (line.startsWith(END)) {
                break;
            }
            printed.append(line).append('\n');
        }
        throw new AssertionError(
                "%s: failed; %s%s".formatted(command, printed, Files.readString(folder.resolve("servers.log"))));
    }

    /** The folder of alice. */
    String home() {
        Configuration client = new Configuration(false);
        client.addResource(
                new org.apache.hadoop.fs.Path(conf().resolve("core-site.xml").toUri()));
        return client.get("fs.defaultFS") + "/user/alice";
    }

    /** For HADOOP_CONF_DIR. */
    Path conf() {
        return folder.resolve("conf");
    }

    /** For {@code java.security.krb5.conf}. */
    Path kerberos() {
        return folder.resolve("krb5.conf");
    }

    /** What alice logs in with. */
    Path keytab() {
        return folder.resolve("alice.keytab");
    }

    /** What the name node was asked so far, and whether by a ticket or a token. */
    List<Operation> operations() throws IOException {
        return Files.readAllLines(folder.resolve("audit.log")).stream()
                .map(Operation::of)
                .toList();
    }

    /**
     * One of them.
     *
     * @param millis when
     * @param user who, such as {@code alice@EXAMPLE.COM (auth:TOKEN)}
     * @param name such as create
     * @param path of the file
     */
    record Operation(long millis, String user, String name, String path) {
        private static Operation of(String line) {
            String[] parts = line.split(" ", 5);
            return new Operation(Long.parseLong(parts[0]), parts[1] + " " + parts[2], parts[3], parts[4]);
        }
    }

    @Override
    public void close() {
        SparkInstallation.kill(server);
    }
}
