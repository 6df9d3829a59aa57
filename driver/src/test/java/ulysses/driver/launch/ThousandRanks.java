package ulysses.driver.launch;

import java.lang.management.ManagementFactory;
import java.lang.management.MemoryMXBean;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.IntStream;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.mesh.RankMesh;

/**
 * Run by hand: attempts, barrier stage, rendezvous, reports, checkpoints and their commit with a thousand ranks, all real code but
 * the ranks, which are threads ({@link StandInThread}). One rank is killed after a checkpoint, so there are two attempts. Arguments:
 * a folder that does not exist yet, the number of ranks, the size of their groups, and {@code one} for everything in this JVM or
 * {@code two} for ranks and tasks in an executor of their own, so that this JVM's heap is the driver's alone.
 */
final class ThousandRanks {
    private static final String MODEL = """
            {"model_type": "llama", "hidden_size": 64, "intermediate_size": 224, "num_hidden_layers": 32,
             "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 2048, "torch_dtype": "float32"}""";

    private final int ranks;
    private final long begin = System.nanoTime();
    private final Map<String, Integer> seen = new TreeMap<>();
    private final AtomicLong events = new AtomicLong();
    private final AtomicLong killed = new AtomicLong();
    private int attempt;

    private ThousandRanks(int ranks) {
        this.ranks = ranks;
    }

    public static void main(String[] arguments) throws Exception {
        Path folder = Path.of(arguments[0]).toAbsolutePath();
        int ranks = Integer.parseInt(arguments[1]);
        RankMesh mesh = new RankMesh(ranks, Integer.parseInt(arguments[2]));
        places(mesh);
        SparkConf conf = new SparkConf(false)
                .setAppName("a thousand ranks")
                .set("spark.ui.enabled", "false")
                .set("spark.driver.host", "127.0.0.1")
                .set("spark.driver.bindAddress", "127.0.0.1");
        if (arguments[3].equals("one")) {
            conf.setMaster("local[%d]".formatted(ranks));
        } else {
            new EmbeddedCluster(1, ranks, 3072)
                    .prepare(System.getenv("SPARK_HOME"), System.getProperty("java.class.path"))
                    .forEach(conf::set);
            conf.set("spark.executor.extraJavaOptions", "-Xss256k");
        }
        RankJob job = job(folder, mesh);
        try (JavaSparkContext spark = new JavaSparkContext(conf)) {
            spark.setLogLevel("ERROR");
            ThousandRanks watch = new ThousandRanks(ranks);
            HeapWatch heap = HeapWatch.start();
            BarrierLaunch launch =
                    new BarrierLaunch(spark, job.config().parallel().device(), StandInThread::start);
            RunOutcome outcome = new RunAttempts(spark, job, List.of(watch::accept), launch).run();
            say("attempts", outcome.attempts());
            say("all attempts, s", outcome.duration().toSeconds());
            say("events of ranks", watch.events.get());
            heap.tell();
        }
    }

    private static void places(RankMesh mesh) {
        List<DeviceAssignment.Seat> seats = IntStream.range(0, mesh.worldSize())
                .mapToObj(i -> new DeviceAssignment.Seat(
                        i, "10.0.%d.%d".formatted(i % 128 / 64, i % 64), "" + i, "GPU-" + i, 1000 + i))
                .toList();
        long begin = System.nanoTime();
        List<DeviceAssignment.Placement> placed = DeviceAssignment.place(seats, mesh.sequenceParallelSize());
        say("order of ranks on 128 hosts, ms", (System.nanoTime() - begin) / 1_000_000);
        say("groups across hosts", DeviceAssignment.groupsAcrossHosts(placed, mesh.sequenceParallelSize()));
    }

    private static RankJob job(Path folder, RankMesh mesh) throws Exception {
        Path model = Files.createDirectories(folder.resolve("model"));
        Files.writeString(model.resolve("config.json"), MODEL);
        Files.writeString(model.resolve("tokenizer.json"), "{}");
        Path yaml = Files.writeString(folder.resolve("run.yaml"), """
                model_name_or_path: %s
                output_dir: %s
                dataset: none
                finetuning_type: full
                device: cpu
                num_ranks: %d
                sequence_parallel_size: %d
                zero_stage: 3
                max_attempts: 2
                """.formatted(
                        model, folder.resolve("out"), mesh.worldSize(), mesh.sequenceParallelSize()));
        return new RankJob(
                "thousand",
                "none",
                mesh,
                ConfigFile.load(ConfigFile.Sources.ofFile(yaml.toString()), new Configuration(false))
                        .config(),
                "none",
                List.of());
    }

    private synchronized void accept(RankEvent event) {
        events.incrementAndGet();
        if (event instanceof RankEvent.Warning warning && warning.message().startsWith(StandInThread.MEASURED)) {
            String text = warning.message().substring(StandInThread.MEASURED.length());
            if (text.startsWith("killed")) {
                killed.set(System.nanoTime());
            } else {
                System.out.println(text);
            }
        } else if (event instanceof RankEvent.Placed) {
            count("placed");
        } else if (event instanceof RankEvent.Phase phase && !phase.phase().equals("checkpoint")) {
            count(phase.phase() + (phase.phase().equals("step") ? " " + phase.step() : ""));
        }
    }

    /** Says when all ranks have come so far. */
    private void count(String milestone) {
        if (milestone.equals("placed") && seen.getOrDefault("placed", 0) % ranks == 0) {
            attempt++;
            if (attempt > 1) {
                say("from the kill to the first rank of the next attempt that is placed, s", since(killed.get()));
            }
        }
        int reached = seen.merge(milestone, 1, Integer::sum);
        if (reached % ranks == 0 && attempt > 0 && !milestone.startsWith("step ")) {
            say(
                    "attempt %d: all ranks in %s after s".formatted(attempt, milestone),
                    since(attempt == 1 ? begin : killed.get()));
        } else if (reached % ranks == 0 && (milestone.equals("step 1") || attempt > 1)) {
            say(
                    "attempt %d: all ranks in %s after s".formatted(attempt, milestone),
                    since(attempt == 1 ? begin : killed.get()));
        }
    }

    private static double since(long nanos) {
        return Math.round((System.nanoTime() - nanos) / 1e8) / 10.0;
    }

    private static void say(String what, Object value) {
        System.out.println(what + ": " + value);
    }

    /** The heap and the threads of this JVM. */
    private static final class HeapWatch implements Runnable {
        private static final double MIB = 1 << 20;
        private final MemoryMXBean memory = ManagementFactory.getMemoryMXBean();
        private long peak;
        private long live;
        private int threads;

        static HeapWatch start() {
            HeapWatch watch = new HeapWatch();
            Thread thread = new Thread(watch, "heap-watch");
            thread.setDaemon(true);
            thread.start();
            return watch;
        }

        @Override
        public void run() {
            for (int i = 0; ; i++) {
                if (i % 50 == 0) {
                    memory.gc();
                    live = Math.max(live, memory.getHeapMemoryUsage().getUsed());
                }
                peak = Math.max(peak, memory.getHeapMemoryUsage().getUsed());
                threads = Math.max(threads, ManagementFactory.getThreadMXBean().getThreadCount());
                try {
                    Thread.sleep(100);
                } catch (InterruptedException e) {
                    return;
                }
            }
        }

        void tell() {
            say("largest heap in use, MiB", Math.round(peak / MIB));
            say("largest heap in use after a collection, MiB", Math.round(live / MIB));
            say("limit of the heap, MiB", Math.round(memory.getHeapMemoryUsage().getMax() / MIB));
            say("most threads", threads);
        }
    }
}
