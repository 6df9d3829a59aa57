package ulysses.runtime.servers;

import java.io.BufferedReader;
import java.io.File;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.OutputStream;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Properties;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.FileStatus;
import org.apache.hadoop.fs.FsShell;
import org.apache.hadoop.hdfs.HdfsConfiguration;
import org.apache.hadoop.hdfs.MiniDFSCluster;
import org.apache.hadoop.hdfs.server.namenode.AuditLogger;
import org.apache.hadoop.minikdc.MiniKdc;
import org.apache.hadoop.security.UserGroupInformation;
import org.apache.hadoop.util.ToolRunner;

/**
 * A KDC and an HDFS that asks for Kerberos, in a process of their own, since a login is that of a whole JVM. It answers each line of
 * standard input, a command of Hadoop's file system shell that HDFS' own user gives, and ends with it.
 *
 * <p>Below FOLDER it makes {@code krb5.conf}, {@code alice.keytab}, {@code conf}, the configuration of clients, and {@code audit.log}:
 * time in ms, user with how it was known, operation and path.
 *
 * <pre>java -cp FOLDER:... ulysses.runtime.servers.SecureHdfsServer FOLDER SECONDS_THAT_A_TOKEN_LIVES</pre>
 */
public final class SecureHdfsServer {
    /** What follows an answer. */
    public static final String END = "--";

    private static final String SERVER = "hdfs/localhost";
    private static final String PAGES = "HTTP/localhost";
    private static final String PASSWORD = "changeit";

    private SecureHdfsServer() {}

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]).toAbsolutePath();
        MiniKdc kdc = kdc(folder);
        Path keytab = folder.resolve("servers.keytab");
        kdc.createPrincipal(keytab.toFile(), SERVER, PAGES);
        kdc.createPrincipal(folder.resolve("alice.keytab").toFile(), "alice");
        Files.copy(kdc.getKrb5conf().toPath(), folder.resolve("krb5.conf"));
        Configuration client = client();
        Configuration server = server(client, folder, keytab, Integer.parseInt(arguments[1]));
        writeKey(folder);
        UserGroupInformation.setConfiguration(server);
        MiniDFSCluster cluster = new MiniDFSCluster.Builder(
                        server, folder.resolve("hdfs").toFile())
                .numDataNodes(1)
                .build();
        cluster.waitActive();
        client.set("fs.defaultFS", cluster.getURI().toString());
        write(client, Files.createDirectories(folder.resolve("conf")).resolve("core-site.xml"));
        answer(cluster.getConfiguration(0));
        Runtime.getRuntime().halt(0);
    }

    private static MiniKdc kdc(Path folder) throws Exception {
        Properties settings = MiniKdc.createConf();
        settings.setProperty(MiniKdc.MAX_TICKET_LIFETIME, "86400000");
        MiniKdc kdc = new MiniKdc(
                settings, Files.createDirectories(folder.resolve("kdc")).toFile());
        kdc.start();
        return kdc;
    }

    /** What both sides have to know. */
    private static Configuration client() {
        Configuration client = new Configuration(false);
        client.set("hadoop.security.authentication", "kerberos");
        client.set("hadoop.security.authorization", "true");
        client.set("ipc.client.connection.maxidletime", "1000"); // each wait of a rank ends what its first token opened
        client.set("dfs.namenode.kerberos.principal", SERVER + "@EXAMPLE.COM");
        client.set("dfs.datanode.kerberos.principal", SERVER + "@EXAMPLE.COM");
        client.set("dfs.data.transfer.protection", "authentication");
        client.set("dfs.replication", "1");
        return client;
    }

    private static Configuration server(Configuration client, Path folder, Path keytab, int tokenSeconds) {
        Configuration server = new HdfsConfiguration();
        client.forEach(setting -> server.set(setting.getKey(), setting.getValue()));
        server.set("dfs.block.access.token.enable", "true");
        server.set("dfs.namenode.keytab.file", keytab.toString());
        server.set("dfs.datanode.keytab.file", keytab.toString());
        server.set("dfs.web.authentication.kerberos.principal", PAGES + "@EXAMPLE.COM");
        server.set("dfs.web.authentication.kerberos.keytab", keytab.toString());
        server.set("dfs.namenode.delegation.token.renew-interval", tokenSeconds + "000");
        server.set("dfs.namenode.delegation.token.max-lifetime", tokenSeconds + "000");
        server.set("dfs.namenode.audit.loggers", Audit.class.getName());
        server.set(Audit.FILE, folder.resolve("audit.log").toString());
        server.set("dfs.http.policy", "HTTPS_ONLY"); // data nodes insist on it where ports are not those of root
        server.set("dfs.namenode.https-address", "localhost:0");
        server.set("dfs.datanode.https.address", "localhost:0");
        return server;
    }

    /** A key that nobody trusts, and the file in which HDFS looks for it. */
    private static void writeKey(Path folder) throws IOException, InterruptedException {
        Path keys = folder.resolve("keys.p12");
        List<String> line = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "keytool").toString()));
        line.addAll(List.of("-genkeypair", "-alias", "hdfs", "-keyalg", "RSA", "-dname", "CN=localhost"));
        line.addAll(List.of("-storetype", "PKCS12", "-keystore", keys.toString(), "-storepass", PASSWORD));
        new ProcessBuilder(line)
                .redirectErrorStream(true)
                .redirectOutput(folder.resolve("keytool.log").toFile())
                .start()
                .waitFor();
        Configuration settings = new Configuration(false);
        settings.set("ssl.server.keystore.location", keys.toString());
        settings.set("ssl.server.keystore.type", "pkcs12");
        settings.set("ssl.server.keystore.password", PASSWORD);
        settings.set("ssl.server.keystore.keypassword", PASSWORD);
        write(settings, folder.resolve("ssl-server.xml"));
    }

    private static void write(Configuration settings, Path file) throws IOException {
        try (OutputStream site = Files.newOutputStream(file)) {
            settings.writeXml(site);
        }
    }

    private static void answer(Configuration conf) throws Exception {
        System.out.println(END);
        BufferedReader commands = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String command = commands.readLine(); command != null; command = commands.readLine()) {
            int code = ToolRunner.run(conf, new FsShell(), command.split(" "));
            System.out.println(code == 0 ? END : END + " " + code);
        }
    }

    /** A line for each operation on the name node. */
    public static final class Audit implements AuditLogger {
        private static final String FILE = "ulysses.audit.file";

        private Path file = new File("audit.log").toPath();

        @Override
        public void initialize(Configuration conf) {
            file = Path.of(conf.get(FILE));
        }

        @Override
        public synchronized void logAuditEvent(
                boolean allowed,
                String user,
                InetAddress from,
                String operation,
                String path,
                String to,
                FileStatus of) {
            String line = "%d %s %s %s%s%n"
                    .formatted(System.currentTimeMillis(), user, operation, path, allowed ? "" : " refused");
            try {
                Files.writeString(file, line, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
            } catch (IOException e) {
                throw new IllegalStateException(e);
            }
        }
    }
}
