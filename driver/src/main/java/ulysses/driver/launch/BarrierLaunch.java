package ulysses.driver.launch;

import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.rdd.RDD;
import org.apache.spark.resource.ResourceProfile;
import org.apache.spark.resource.ResourceProfileBuilder;
import org.apache.spark.resource.TaskResourceRequests;
import org.jspecify.annotations.Nullable;
import scala.reflect.ClassTag;
import scala.reflect.ClassTag$;
import ulysses.runtime.config.ParallelConfig.Device;

/** Runs one attempt: one barrier stage with one task per rank. A barrier stage is never retried by Spark, so a job is an attempt. */
public final class BarrierLaunch {
    private static final ClassTag<Integer> INTEGER = ClassTag$.MODULE$.apply(Integer.class);

    private final JavaSparkContext spark;
    private final Device device;
    private @Nullable ResourceProfile profile;
    private final RankStarter starter;

    /**
     * For ranks on {@code device}; a rank on CUDA asks for one GPU, so that other stages of the application need none, and any rank for its
     * {@link RankCores}.
     */
    public BarrierLaunch(JavaSparkContext spark, Device device) {
        this(spark, device, RankStarter.PROCESS);
    }

    /** The same with ranks that {@code starter} starts. */
    BarrierLaunch(JavaSparkContext spark, Device device, RankStarter starter) {
        this.spark = spark;
        this.starter = starter;
        this.device = device;
    }

    /** How many ranks can run at once right now. */
    public int slots() {
        ResourceProfile asked =
                profile().orElseGet(() -> spark.sc().resourceProfileManager().defaultResourceProfile());
        return spark.sc().maxNumConcurrentTasks(asked);
    }

    /** Name of the job group of {@code attempt}. */
    static String jobGroup(RankJob job, int attempt) {
        return "ulysses-%s-attempt-%d".formatted(job.runId(), attempt);
    }

    /**
     * Blocks until all ranks are done.
     *
     * @param description what Spark's UI shows
     * @throws TooFewSeatsException when none has run, because too few tasks were on hosts that are not left out
     * @throws Exception whatever Spark throws when a task fails or the job group is cancelled; SparkException is checked, but Scala
     *     does not declare it
     */
    void run(RankJob job, Attempt attempt, String description) throws Exception {
        int ranks = job.mesh().worldSize();
        // Spark puts tasks where it likes: only a stage that fills every slot is sure to reach all other hosts.
        int tasks = attempt.leftOut().isEmpty() ? ranks : Math.max(ranks, slots());
        RankTask task = new RankTask(job, attempt, siteSettings(spark.hadoopConfiguration()), starter);
        // Interrupting is what makes the other tasks of a failed barrier stage end at once instead of when they look at
        // a flag.
        spark.setJobGroup(jobGroup(job, attempt.number()), description, true);
        try {
            RDD<Integer> stage = spark.parallelize(Collections.nCopies(tasks, 0), tasks)
                    .rdd()
                    .barrier()
                    .mapPartitions(task, false, INTEGER);
            RDD<Integer> placed = profile().map(stage::withResources).orElse(stage);
            requireAll(ranks, placed.toJavaRDD().collect());
        } finally {
            spark.clearJobGroup();
        }
    }

    private static void requireAll(int ranks, List<Integer> ended) throws TooFewSeatsException {
        long done = ended.stream().filter(rank -> rank >= 0).count();
        if (done == ranks) {
            return;
        }
        int leftOut = Collections.frequency(ended, RankTask.LEFT_OUT);
        if (done == 0 && ended.size() - leftOut < ranks) {
            throw new TooFewSeatsException(ended.size(), ended.size() - leftOut);
        }
        throw new IllegalStateException("%d of %d ranks were done".formatted(done, ranks));
    }

    /** What an administrator or the user set; defaults stay out, since the rank has them from the same jars. */
    static Map<String, String> siteSettings(Configuration hadoop) {
        Map<String, String> settings = new HashMap<>();
        for (Map.Entry<String, String> entry : hadoop) {
            String @Nullable [] sources = hadoop.getPropertySources(entry.getKey());
            String last = sources == null || sources.length == 0 ? "" : sources[sources.length - 1];
            String value = hadoop.getRaw(entry.getKey());
            if (value != null && !last.toLowerCase(Locale.ROOT).endsWith("-default.xml")) {
                settings.put(entry.getKey(), value);
            }
        }
        return settings;
    }

    /** For the tasks only: a profile that also asks for executors needs dynamic allocation, which barrier stages forbid. */
    private Optional<ResourceProfile> profile() {
        boolean likeAnyTask = device == Device.CPU && !RankCores.differ(spark.getConf());
        if (profile == null && !likeAnyTask) {
            profile = added();
        }
        return Optional.ofNullable(profile);
    }

    /** Made when it is asked for, since Spark refuses one that doesn't fit with words of its own; see {@code Preflight}. */
    private ResourceProfile added() {
        TaskResourceRequests requests = new TaskResourceRequests().cpus(RankCores.of(spark.getConf()));
        if (device == Device.CUDA) {
            requests.resource("gpu", 1.0);
        }
        ResourceProfile made = new ResourceProfileBuilder().require(requests).build();
        spark.sc().resourceProfileManager().addResourceProfile(made);
        return made;
    }
}
