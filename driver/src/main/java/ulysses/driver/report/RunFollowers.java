package ulysses.driver.report;

import java.time.Clock;
import java.time.ZoneId;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.Consumer;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkEnv;
import ulysses.driver.launch.RankCores;
import ulysses.driver.plan.HardwareProfile;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.weights.Folder;

/** The services that {@code report_to} names, the status page, and the metrics of Spark's driver. */
public final class RunFollowers implements RunFollower {
    private final List<RunFollower> followers;
    private final List<String> places;
    private final Optional<String> statusPage;

    private RunFollowers(List<RunFollower> followers, List<String> places, Optional<String> statusPage) {
        this.followers = List.copyOf(followers);
        this.places = List.copyOf(places);
        this.statusPage = statusPage;
    }

    /**
     * Refuses services that can't be used and hardware that is not known, before anything is begun.
     *
     * @param environment MLflow's variables
     * @throws ConfigException if one is missing, or {@code hardware} is not in hardware.yaml
     * @throws ulysses.driver.launch.LaunchException if a server does not answer
     */
    public static void check(TrainingConfig config, Map<String, String> environment) {
        if (config.output().reporting().trackers().contains(TrainingConfig.Tracker.MLFLOW)) {
            var unused = MlflowTracking.of(environment).experimentId();
        }
        TrainingConfig.StatusPage page = config.output().reporting().statusPage();
        if (page != null) {
            StatusServer.check(page);
        }
        String hardware = config.output().reporting().hardware();
        if (hardware != null) {
            var unused = HardwareProfile.of(hardware);
        }
    }

    /** Tells them that a run begins. */
    public static RunFollowers begin(
            RunArguments arguments,
            TrainingConfig config,
            Map<String, String> environment,
            Configuration hadoop,
            Clock clock) {
        TrainingConfig.Output output = config.output();
        Map<String, String> settings = new LinkedHashMap<>();
        arguments.given().forEach(key -> settings.put(key.key(), RunArguments.masked(key.value())));
        List<RunFollower> followers = new ArrayList<>();
        List<String> places = new ArrayList<>();
        SparkMetrics.register(peakOfRank(config)).ifPresent(followers::add);
        Optional<StatusServer> page = Optional.ofNullable(output.reporting().statusPage())
                .map(wish -> StatusServer.start(wish, LiveRun.of(arguments, earlier(output, hadoop), clock)));
        page.ifPresent(followers::add);
        for (TrainingConfig.Tracker tracker : output.reporting().trackers()) {
            if (tracker == TrainingConfig.Tracker.TENSORBOARD) {
                TensorBoardLog log =
                        TensorBoardLog.open(output, markdown(settings), hadoop, clock, ZoneId.systemDefault());
                followers.add(log);
                places.add("tensorboard: " + log.path());
            } else {
                MlflowTracking tracking = MlflowTracking.of(environment);
                MlflowRun run = MlflowRun.begin(tracking, name(output), settings, tags(config), clock);
                followers.add(run);
                places.add("mlflow:      run %s at %s".formatted(run.id(), tracking));
            }
        }
        return new RunFollowers(followers, places, page.map(StatusServer::address));
    }

    /** Operations a second that the device of a rank could do, where {@code hardware} tells; on the CPU with the cores of a rank. */
    private static OptionalDouble peakOfRank(TrainingConfig config) {
        String name = config.output().reporting().hardware();
        if (name == null || SparkEnv.get() == null) {
            return OptionalDouble.empty();
        }
        HardwareProfile hardware = HardwareProfile.of(name);
        double peak = hardware.peakFlops(config.model().computeType() == TrainingConfig.ComputeType.BFLOAT16);
        return OptionalDouble.of(
                hardware.isCpu() ? peak * RankCores.of(SparkEnv.get().conf()) : peak);
    }

    private static RunRecord earlier(TrainingConfig.Output output, Configuration hadoop) {
        return RunRecord.read(Folder.at(output.outputDir(), hadoop), hadoop);
    }

    private static String name(TrainingConfig.Output output) {
        String told = output.reporting().runName();
        String folder = output.outputDir().replaceAll("/+$", "");
        return told != null ? told : folder.substring(folder.lastIndexOf('/') + 1);
    }

    private static Map<String, String> tags(TrainingConfig config) {
        return Map.of(
                "mlflow.source.name", "ulysses-on-spark",
                "mlflow.user", System.getProperty("user.name", "unknown"),
                "output_dir", RunArguments.masked(config.output().outputDir()));
    }

    private static String markdown(Map<String, String> settings) {
        StringBuilder table = new StringBuilder("| key | value |\n| --- | --- |\n");
        settings.forEach((key, value) -> table.append("| %s | %s |%n".formatted(key, value.replace("|", "\\|"))));
        return table.toString();
    }

    /** Where each can be looked at, a line each. */
    public List<String> places() {
        return places;
    }

    /** The address of the status page, if there is one. */
    Optional<String> statusPage() {
        return statusPage;
    }

    @Override
    public void accept(RankEvent event) {
        tellEach(follower -> follower.accept(event));
    }

    @Override
    public void end(RunRecord.Ending ending) {
        tellEach(follower -> follower.end(ending));
    }

    private void tellEach(Consumer<RunFollower> word) {
        for (RunFollower follower : followers) {
            RunReporting.apart(follower.getClass().getSimpleName(), () -> word.accept(follower));
        }
    }
}
