package ulysses.job;

import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * The distribution on YARN, submitted with its own script: two ranks in client mode, and in cluster mode; one run whose executor is
 * killed behind a checkpoint, of the same weights in the end; one that asks for GPUs. By hand, since Spark's jar for YARN is not among
 * what the build needs: SPARK_HOME is an installation, and SERVERS a class path of hadoop-client-minicluster 3.4.2, bcprov-jdk18on 1.78.1, jaxb-api
 * 2.3.1, jaxb-core and jaxb-impl 2.2.11 and javax.activation-api 1.2.0.
 *
 * <pre>mvn -B package -DskipTests; java -cp ... ulysses.job.YarnRun FOLDER SPARK_HOME SERVERS DISTRIBUTION.tar.gz</pre>
 */
final class YarnRun {
    private static final int STEPS = 12;
    private static final Pattern APPLICATION = Pattern.compile("application_\\d+_\\d+");

    private final YarnCluster cluster;
    private final Path folder;
    private final Path unpacked;

    private YarnRun(YarnCluster cluster, Path folder, Path unpacked) {
        this.cluster = cluster;
        this.folder = folder;
        this.unpacked = unpacked;
    }

    public static void main(String[] given) throws Exception {
        Path folder = Files.createDirectories(Path.of(given[0]).toAbsolutePath());
        try (YarnCluster cluster = YarnCluster.start(folder, Path.of(given[1]), given[2])) {
            YarnRun run = new YarnRun(
                    cluster, folder, cluster.spark().unpack(Path.of(given[3]).toAbsolutePath()));
            run.inClientMode();
            run.inClusterMode();
            run.saysWhatIsWrongInClusterMode();
            run.losesAnExecutor();
            run.asksForGpus();
        }
    }

    private void inClientMode() throws Exception {
        JobRun run = submit("client", "--device", "cpu").succeeded();
        expect("client mode", run.out().contains("done: %d steps".formatted(STEPS)), run);
        expect("yarn logs", cluster.logged(application(run), "Container: container_"), run);
    }

    private void inClusterMode() throws Exception {
        JobRun run =
                submit("cluster", "--device", "cpu", "--deploy-mode", "cluster").succeeded();
        expect("cluster mode", cluster.logged(application(run), "done: %d steps".formatted(STEPS)), run);
        expect("its weights", same("cluster"), run);
    }

    private void saysWhatIsWrongInClusterMode() throws Exception {
        JobRun run =
                submit("wrong", List.of("--device", "cpu", "--deploy-mode", "cluster"), List.of("--cutoff_len=-1"));
        expect("its exit code", run.code() == 1 && run.err().contains("User application exited with status 2"), run);
        expect("its message", cluster.logged(application(run), "error: 1 problem in quickstart.yaml:"), run);
    }

    private void losesAnExecutor() throws Exception {
        ExecutorService background = Executors.newSingleThreadExecutor();
        try {
            Future<JobRun> run = background.submit(() -> submit("lost", "--device", "cpu"));
            Path checkpoint = folder.resolve("lost/checkpoint-4/MANIFEST.json");
            Await.that("a checkpoint", Duration.ofMinutes(3), () -> Files.exists(checkpoint));
            ProcessHandle executor = ProcessHandle.allProcesses()
                    .filter(process -> process.info()
                            .commandLine()
                            .filter(line -> line.contains("YarnCoarseGrainedExecutorBackend"))
                            .filter(line -> line.contains(folder.toString()) && !line.startsWith("/bin/bash"))
                            .isPresent())
                    .findFirst()
                    .orElseThrow();
            executor.destroyForcibly();
            JobRun ended = run.get().succeeded();
            expect("a lost executor", ended.err().contains("attempt 2"), ended);
            expect("its weights", same("lost"), ended);
        } finally {
            background.shutdownNow();
        }
    }

    /** Ranks get as far as libtorch: each was given a GPU by YARN, and natives for CUDA are not in this build. */
    private void asksForGpus() throws Exception {
        Path script = cluster.spark().executable("gpus.sh", """
                #!/bin/sh
                case $PWD in */node-1/*) gpu=1 ;; *) gpu=0 ;; esac
                echo '{"name":"gpu","addresses":["'$gpu'"]}'
                """);
        JobRun run = submit("gpu", "--conf", "spark.executor.resource.gpu.discoveryScript=" + script);
        expect("GPUs", run.code() == 2 && run.err().contains("libtorch finds no CUDA device here"), run);
    }

    private boolean same(String output) {
        Weights reference = Weights.ofCheckpoint(folder.resolve("client/checkpoint-4"));
        return Weights.of(folder.resolve(output)).deviation(Weights.of(folder.resolve("client")), reference) == 0;
    }

    private JobRun submit(String output, String... options) throws Exception {
        return submit(output, List.of(options), List.of());
    }

    private JobRun submit(String output, List<String> options, List<String> keys) throws Exception {
        List<String> command =
                new ArrayList<>(List.of(unpacked.resolve("deploy/submit.sh").toString()));
        command.addAll(List.of("--master", "yarn", "--ranks", "2", "--rank-memory", "2g"));
        command.addAll(List.of("--executor-memory", "1g", "--driver-memory", "1g"));
        command.addAll(options);
        command.addAll(
                List.of("conf/quickstart.yaml", "--max_steps=" + STEPS, "--save_steps=4", "--save_total_limit=5"));
        command.addAll(List.of("--output_dir=" + folder.resolve(output), "--logging_steps=1", "--eval_strategy=no"));
        command.add("--dataset_dir=" + unpacked.resolve("conf/quickstart/data"));
        command.add("--model_name_or_path=" + unpacked.resolve("conf/quickstart/model"));
        command.addAll(keys);
        return cluster.spark().run(unpacked, command);
    }

    private static String application(JobRun run) {
        Matcher matcher = APPLICATION.matcher(run.err());
        if (!matcher.find()) {
            throw new AssertionError("no application in " + run);
        }
        return matcher.group();
    }

    private static void expect(String what, boolean holds, Object seen) {
        if (!holds) {
            throw new AssertionError("%s: not so in%n%s".formatted(what, seen));
        }
        System.out.println("ok: " + what);
    }
}
