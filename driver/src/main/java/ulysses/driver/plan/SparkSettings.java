package ulysses.driver.plan;

import java.util.ArrayList;
import java.util.List;
import org.apache.spark.SparkConf;
import ulysses.driver.launch.RankCores;
import ulysses.runtime.config.ParallelConfig.Device;

/** What Spark settings must be for a barrier stage of rank processes; one method per rule, all problems together. */
final class SparkSettings {
    private static final String ALLOW_PLAINTEXT = "spark.ulysses.network.allowPlaintext";
    private static final List<String> ENCRYPTION = List.of(
            "spark.ssl.enabled",
            "spark.ssl.rpc.enabled",
            "spark.network.crypto.enabled",
            "spark.authenticate.enableSaslEncryption");

    private final SparkConf conf;
    private final Device device;
    private final List<Problem> problems = new ArrayList<>();
    private final List<String> notes = new ArrayList<>();

    SparkSettings(SparkConf conf, Device device) {
        this.conf = conf;
        this.device = device;
    }

    /** All that is wrong; also fills {@link #notes}. */
    List<Problem> problems() {
        refuseOn(
                "spark.dynamicAllocation.enabled",
                "but ranks start together, which Spark refuses with a moving number of executors");
        refuseOn("spark.speculation", "but a second copy of a rank would train into the same run");
        refusePlaintext();
        requireGpus();
        requireCoresThatFit();
        requireResourceProfiles();
        advise();
        return List.copyOf(problems);
    }

    /** What works, but could be better. */
    List<String> notes() {
        return List.copyOf(notes);
    }

    private void refuseOn(String key, String limit) {
        if (conf.getBoolean(key, false)) {
            problems.add(new Problem(key, "is true,", limit, "set --conf " + key + "=false"));
        }
    }

    private void refusePlaintext() {
        if (conf.getBoolean(ALLOW_PLAINTEXT, false)) {
            return;
        }
        for (String key : ENCRYPTION) {
            if (conf.getBoolean(key, false)) {
                problems.add(new Problem(
                        key,
                        "is true,",
                        "but what ranks send each other (NCCL, Gloo, the rendezvous store) is never encrypted",
                        "run on a network you trust and set --conf " + ALLOW_PLAINTEXT + "=true"));
            }
        }
    }

    private void requireGpus() {
        if (device != Device.CUDA) {
            return;
        }
        if (isLocal()) {
            problems.add(new Problem(
                    "spark.master",
                    master(),
                    "can't hand out GPUs, but device is cuda",
                    "use local-cluster[N,1,1024] or a cluster, or device: cpu"));
        } else if (!conf.contains("spark.executor.resource.gpu.amount")) {
            problems.add(new Problem(
                    "spark.executor.resource.gpu.amount",
                    "is not set,",
                    "but device is cuda and every rank needs a GPU of its own",
                    "set --conf spark.executor.resource.gpu.amount=1 --conf"
                            + " spark.executor.resource.gpu.discoveryScript=deploy/discover-gpus.sh, or device: cpu"));
        }
    }

    private void requireCoresThatFit() {
        int perRank = RankCores.of(conf);
        String key = RankCores.key(conf);
        int cores = conf.getInt("spark.executor.cores", hasOneCoreByDefault() ? 1 : Math.max(1, perRank));
        if (perRank < 1) {
            problems.add(new Problem(key, Integer.toString(perRank), "is no number of cores", "set it to at least 1"));
        } else if (perRank > cores) {
            problems.add(new Problem(
                    key,
                    Integer.toString(perRank),
                    "is more than spark.executor.cores " + cores + ", so no rank fits an executor",
                    "set " + key + " to at most " + cores));
        }
    }

    private void requireResourceProfiles() {
        if (isLocal() && RankCores.differ(conf)) {
            problems.add(new Problem(
                    RankCores.KEY,
                    conf.get(RankCores.KEY),
                    "needs executors, but spark.master is " + master(),
                    "use local-cluster[N,CORES,1024] or a cluster, or set spark.task.cpus instead"));
        }
    }

    private boolean isLocal() {
        return master().matches("local(\\[.*])?");
    }

    private void advise() {
        if (!conf.getBoolean("spark.task.reaper.enabled", false)) {
            notes.add(
                    "spark.task.reaper.enabled is off; with it on (and spark.task.reaper.killTimeout=30s) Spark also ends tasks"
                            + " that do not react");
        }
        if (hasOneCoreByDefault()) {
            if (!conf.contains("spark.executor.memoryOverhead")) {
                notes.add(
                        "spark.executor.memoryOverhead is not set; rank processes live outside of the executor's heap and need it");
            }
        }
    }

    /** Where executors of which nobody says how many cores they have get one; a standalone Worker gives all of its own. */
    private boolean hasOneCoreByDefault() {
        return master().startsWith("yarn") || master().startsWith("k8s");
    }

    private String master() {
        return conf.get("spark.master", "");
    }
}
