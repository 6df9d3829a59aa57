package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.job.SecureHdfs.Operation;

/**
 * Model, data and output on an HDFS that asks for Kerberos, the job on a standalone cluster whose executors have neither keytab nor
 * ticket. Runs behind {@code package}, since it needs the distribution.
 */
final class SecureHdfsIT {
    private static final int TOKEN_SECONDS = 8;

    /** Enough for ranks to outlive a token on a machine that does a step in a tenth of a second. */
    private static final int STEPS = 80;

    @TempDir
    private static Path folder;

    private static SecureHdfs hdfs;
    private static StandaloneCluster cluster;
    private static Path unpacked;

    @BeforeAll
    static void start() throws IOException, InterruptedException {
        hdfs = SecureHdfs.start(folder.resolve("hdfs"), TOKEN_SECONDS, Path.of("../executor-runtime/target"));
        SparkInstallation spark =
                SparkInstallation.from(Path.of("target").toAbsolutePath(), folder.resolve("spark-files"));
        spark.variable("HADOOP_CONF_DIR", hdfs.conf().toString());
        spark.variable("JAVA_TOOL_OPTIONS", "-Djava.security.krb5.conf=" + hdfs.kerberos());
        spark.variable("KRB5CCNAME", folder.resolve("no-ticket").toString());
        cluster = StandaloneCluster.start(folder, spark);
        unpacked = spark.unpack(Path.of(System.getProperty("distribution")));
        hdfs.shell("-mkdir -p /user/alice");
        hdfs.shell("-put " + unpacked.resolve("conf/quickstart") + " /user/alice/quickstart");
        hdfs.shell("-chown -R alice /user/alice");
    }

    @AfterAll
    static void stop() {
        cluster.close();
        hdfs.close();
    }

    /** Ranks outlive the token that they began with. */
    @Test
    void trainsByTokensThatAreReplacedInTime() throws Exception {
        JobRun run = submit(
                        List.of(
                                "spark.kerberos.principal=alice@EXAMPLE.COM",
                                "spark.kerberos.keytab=" + hdfs.keytab(),
                                "spark.security.credentials.renewalRatio=0.25"),
                        "--logging_steps=20",
                        "--save_steps=20")
                .succeeded();

        assertThat(run.out()).contains("done: %d steps".formatted(STEPS)).contains("1 attempt(s)");
        List<Operation> ofRanks =
                hdfs.operations().stream().filter(SecureHdfsIT::isOfARank).toList();
        assertThat(ofRanks)
                .hasSizeGreaterThan(10)
                .allMatch(operation -> operation.user().equals("alice@EXAMPLE.COM (auth:TOKEN)"));
        assertThat(hdfs.shell("-ls -R /user/alice/out").lines())
                .anyMatch(line -> line.endsWith("/out/model.safetensors"))
                .allMatch(line -> line.contains(" alice "));
        assertThat(ofRanks.get(ofRanks.size() - 1).millis() - ofRanks.get(0).millis())
                .as("ms from the first row to the model; raise STEPS if this machine is too fast")
                .isGreaterThan(TOKEN_SECONDS * 1000L);
    }

    /** Nobody else reads prepared rows, or writes checkpoints and weights. */
    private static boolean isOfARank(Operation operation) {
        return switch (operation.name()) {
            case "open" -> operation.path().matches(".*/prepared/train/data-.*");
            case "create" -> operation.path().matches(".*/out/(checkpoint-\\d+/.*|[^/]*\\.safetensors)");
            default -> false;
        };
    }

    @Test
    void refusesADriverWithoutATicket() throws Exception {
        JobRun run = submit(List.of());

        assertThat(run.code()).isEqualTo(2);
        assertThat(run.err())
                .containsPattern(
                        "error: no Kerberos ticket: the file system asks \\S+ for one .*; run kinit, or give --conf");
    }

    @Test
    void refusesADriverThatDoesNotKnowOfKerberos() throws Exception {
        List<String> command = new ArrayList<>(List.of("env", "-u", "HADOOP_CONF_DIR"));
        command.addAll(command(List.of()));

        JobRun run = cluster.spark().run(unpacked, command);

        assertThat(run.code()).isEqualTo(2);
        assertThat(run.err())
                .contains("error: no Kerberos here: the file system asks for it")
                .contains("name the cluster's configuration by HADOOP_CONF_DIR");
    }

    private static JobRun submit(List<String> settings, String... keys) throws IOException, InterruptedException {
        return cluster.spark().run(unpacked, command(settings, keys));
    }

    private static List<String> command(List<String> settings, String... keys) {
        List<String> command =
                new ArrayList<>(List.of(unpacked.resolve("deploy/submit.sh").toString()));
        command.addAll(List.of("--master", cluster.master(), "--ranks", "2", "--device", "cpu"));
        command.addAll(List.of("--executor-memory", "1g", "--driver-memory", "512m"));
        settings.forEach(setting -> command.addAll(List.of("--conf", setting)));
        command.addAll(List.of("conf/quickstart.yaml", "--max_steps=" + STEPS, "--eval_strategy=no"));
        command.add("--model_name_or_path=" + hdfs.home() + "/quickstart/model");
        command.add("--dataset_dir=" + hdfs.home() + "/quickstart/data");
        command.add("--output_dir=" + hdfs.home() + "/out");
        command.addAll(List.of(keys));
        return command;
    }
}
