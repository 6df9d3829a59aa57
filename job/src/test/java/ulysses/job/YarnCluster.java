package ulysses.job;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * YARN's ResourceManager and two NodeManagers, each a process of its own on this machine: log aggregation and the check of physical
 * memory on, containers of plain processes. Each node counts one {@code yarn.io/gpu}, which isolates nothing.
 */
final class YarnCluster implements AutoCloseable {

    private static final int NODES = 2;

    private final SparkInstallation spark;
    private final Path folder;
    private final Path conf;
    private final String servers;
    private final String page = "127.0.0.1:" + SparkInstallation.freePort();

    private YarnCluster(SparkInstallation spark, Path folder, String servers) throws IOException {
        this.spark = spark;
        this.folder = folder;
        this.servers = servers;
        this.conf = Files.createDirectories(folder.resolve("hadoop-conf"));
    }

    /**
     * Starts the managers below {@code folder} and waits for them.
     *
     * @param home a Spark installation with its jars for YARN
     * @param servers class path of YARN's servers: hadoop-client-minicluster of the same version of Hadoop, and what it leaves out
     */
    static YarnCluster start(Path folder, Path home, String servers) throws IOException, InterruptedException {
        YarnCluster cluster = new YarnCluster(SparkInstallation.at(home, folder), folder, servers);
        cluster.configure();
        List<String> classPath = List.of(cluster.conf.toString(), servers);
        String resources = "org.apache.hadoop.yarn.server.resourcemanager.ResourceManager";
        cluster.spark.daemon(classPath, List.of(resources));
        for (int node = 0; node < NODES; node++) {
            String containers = "org.apache.hadoop.yarn.server.nodemanager.NodeManager";
            cluster.spark.daemon(classPath, List.of("-Dulysses.node=" + node, containers));
        }
        cluster.spark.variable("HADOOP_CONF_DIR", cluster.conf.toString());
        Await.that(
                "nodes of YARN",
                Duration.ofSeconds(90),
                () -> SparkInstallation.page(cluster.page, "/ws/v1/cluster/metrics")
                        .contains("\"activeNodes\":" + NODES));
        return cluster;
    }

    private void configure() throws IOException {
        write("core-site.xml", Map.of("fs.defaultFS", "file:///"));
        write("resource-types.xml", Map.of("yarn.resource-types", "yarn.io/gpu"));
        write("node-resources.xml", Map.of("yarn.nodemanager.resource-type.yarn.io/gpu", "1"));
        write(
                "capacity-scheduler.xml",
                Map.of(
                        "yarn.scheduler.capacity.root.queues", "default",
                        "yarn.scheduler.capacity.root.default.capacity", "100",
                        "yarn.scheduler.capacity.maximum-am-resource-percent", "0.5",
                        "yarn.scheduler.capacity.resource-calculator",
                                "org.apache.hadoop.yarn.util.resource.DominantResourceCalculator"));
        Map<String, String> site = new LinkedHashMap<>();
        site.put("yarn.resourcemanager.hostname", "127.0.0.1");
        site.put("yarn.resourcemanager.webapp.address", page);
        for (String service : List.of("address", "scheduler.address", "resource-tracker.address", "admin.address")) {
            site.put("yarn.resourcemanager." + service, "127.0.0.1:" + SparkInstallation.freePort());
        }
        site.put("yarn.nodemanager.hostname", "127.0.0.1");
        for (String service : List.of("address", "localizer.address", "webapp.address")) {
            site.put("yarn.nodemanager." + service, "127.0.0.1:0");
        }
        site.put("yarn.nodemanager.resource.memory-mb", "6144");
        site.put("yarn.nodemanager.resource.cpu-vcores", "4");
        site.put("yarn.nodemanager.pmem-check-enabled", "true");
        site.put("yarn.nodemanager.vmem-check-enabled", "false");
        site.put("yarn.nodemanager.disk-health-checker.max-disk-utilization-per-disk-percentage", "99");
        site.put("yarn.nodemanager.local-dirs", folder + "/node-${ulysses.node}/local");
        site.put("yarn.nodemanager.log-dirs", folder + "/node-${ulysses.node}/logs");
        site.put("yarn.nodemanager.remote-app-log-dir", folder + "/logs");
        site.put("yarn.log-aggregation-enable", "true");
        site.put("yarn.scheduler.minimum-allocation-mb", "256");
        write("yarn-site.xml", site);
    }

    private void write(String name, Map<String, String> settings) throws IOException {
        StringBuilder text = new StringBuilder("<configuration>\n");
        settings.forEach((key, value) ->
                text.append("  <property><name>%s</name><value>%s</value></property>\n".formatted(key, value)));
        Files.writeString(conf.resolve(name), text.append("</configuration>\n"));
    }

    /** What it runs with. */
    SparkInstallation spark() {
        return spark;
    }

    /** Whether {@code yarn logs -applicationId} prints {@code text} within a minute: nodes hand in logs when a run is over. */
    boolean logged(String application, String text) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(SparkInstallation.java());
        command.addAll(List.of("-cp", String.join(":", conf.toString(), servers, spark.home() + "/jars/*")));
        command.addAll(List.of("org.apache.hadoop.yarn.client.cli.LogsCLI", "-applicationId", application));
        long deadline = System.nanoTime() + TimeUnit.MINUTES.toNanos(1);
        while (!spark.run(folder, command).out().contains(text)) {
            if (System.nanoTime() > deadline) {
                return false;
            }
            TimeUnit.SECONDS.sleep(1);
        }
        return true;
    }

    @Override
    public void close() {
        spark.close();
    }
}
