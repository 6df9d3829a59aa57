package ulysses.job;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.MappingIterator;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.File;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.TimeUnit;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What lies in deploy/: the line that submit.sh builds, manifests against the fields of the operator, the DAG's arguments. */
final class DeploymentTest {

    private static final Path DEPLOY = Path.of("..", "deploy");

    /** What a barrier stage of rank processes needs, wherever it runs. */
    private static final Map<String, String> NEEDED = Map.of(
            "spark.dynamicAllocation.enabled", "false",
            "spark.metrics.namespace", "ulysses",
            "spark.metrics.conf.*.sink.prometheusServlet.class", "org.apache.spark.metrics.sink.PrometheusServlet",
            "spark.metrics.conf.*.sink.prometheusServlet.path", "/metrics/prometheus",
            "spark.speculation", "false",
            "spark.log.level", "WARN",
            "spark.scheduler.minRegisteredResourcesRatio", "1.0",
            "spark.scheduler.barrier.maxConcurrentTasksCheck.interval", "1s",
            "spark.task.reaper.enabled", "true",
            "spark.task.reaper.killTimeout", "30s");

    /** Arguments of Airflow's SparkSubmitOperator that we use. */
    private static final Set<String> OPERATOR = Set.of(
            "conn_id",
            "name",
            "java_class",
            "application",
            "archives",
            "files",
            "driver_memory",
            "executor_memory",
            "executor_cores",
            "num_executors",
            "conf");

    @TempDir
    private Path folder;

    @ParameterizedTest(name = "{0}")
    @CsvSource({
        "spark-application.yaml, SparkApplication",
        "scheduled-spark-application.yaml, ScheduledSparkApplication"
    })
    void manifestsHaveTheFieldsOfTheOperator(String file, String kind) throws IOException {
        JsonNode spec = manifest(file, kind).path("spec");

        assertThat(OperatorFields.read(OperatorFields.KUBEFLOW).problems(kind, spec))
                .isEmpty();

        JsonNode application = kind.equals("SparkApplication") ? spec : spec.path("template");
        assertThat(OperatorFields.read(OperatorFields.KUBEFLOW).problems("SparkApplication", application))
                .isEmpty();
        assertThat(application.path("mainClass").asText()).isEqualTo(Main.class.getName());
        assertThat(application.at("/sparkConf/spark.ulysses.rank.natives").asText())
                .isEqualTo("/opt/ulysses/ulysses-natives");
        assertThat(application.at("/deps/archives").isMissingNode()).isTrue();
        NEEDED.forEach((key, value) -> assertThat(
                        application.path("sparkConf").path(key).asText())
                .as(key)
                .isEqualTo(value));
        assertThat(parsed(application.path("arguments")).command()).isEqualTo(CommandLine.Command.TRAIN);
        assertThat(parsed(application.path("arguments")).overrides().getOrDefault("date", "none"))
                .isEqualTo(kind.equals("ScheduledSparkApplication") ? "yesterday" : "none");
        assertThat(Integer.parseInt(
                        parsed(application.path("arguments")).overrides().getOrDefault("num_ranks", "")))
                .as("ranks: one a GPU, without GPUs one an executor")
                .isEqualTo(application.path("executor").path("instances").asInt()
                        * application.at("/executor/gpu/quantity").asInt(1));
    }

    @Test
    void theManifestForApachesOperatorHasItsFieldsAndRunsTheSame() throws IOException {
        JsonNode spec =
                manifest("apache-spark-application.yaml", "SparkApplication").path("spec");
        JsonNode kubeflow =
                manifest("spark-application.yaml", "SparkApplication").path("spec");

        assertThat(OperatorFields.read(OperatorFields.APACHE).problems("SparkApplication", spec))
                .isEmpty();
        assertThat(spec.path("mainClass")).isEqualTo(kubeflow.path("mainClass"));
        assertThat(spec.path("jars")).isEqualTo(kubeflow.path("mainApplicationFile"));
        assertThat(spec.path("driverArgs")).isEqualTo(kubeflow.path("arguments"));
        assertThat(spec.at("/configMapSpecs/0/data"))
                .isEqualTo(manifest("spark-application.yaml", "ConfigMap").path("data"));
        kubeflow.path("sparkConf")
                .properties()
                .forEach(setting -> assertThat(spec.path("sparkConf").path(setting.getKey()))
                        .as(setting.getKey())
                        .isEqualTo(setting.getValue()));
        JsonNode executor = kubeflow.path("executor");
        assertThat(spec.at("/sparkConf/spark.executor.instances").asInt())
                .isEqualTo(executor.path("instances").asInt());
        assertThat(spec.at("/sparkConf/spark.executor.cores").asInt())
                .isEqualTo(executor.path("cores").asInt());
        assertThat(spec.at("/sparkConf/spark.executor.memory")).isEqualTo(executor.path("memory"));
        assertThat(spec.at("/sparkConf/spark.executor.memoryOverhead")).isEqualTo(executor.path("memoryOverhead"));
        assertThat(spec.at("/executorSpec/podTemplateSpec/spec/volumes")).isEqualTo(kubeflow.path("volumes"));
    }

    @Test
    void aFieldThatTheOperatorDoesNotKnowIsSeen() throws IOException {
        JsonNode spec =
                new YAMLMapper().readTree("{type: Java, executor: {instance: 2, cores: '4'}, restartPolicy: {}}");

        assertThat(OperatorFields.read(OperatorFields.KUBEFLOW).problems("SparkApplication", spec))
                .contains(
                        "SparkApplication.executor.instance: no such field",
                        "SparkApplication.executor.cores: is no integer",
                        "SparkApplication: sparkVersion is missing");
    }

    @Test
    void theDagsArgumentsAreThoseOfTheOperatorAndOfTheJob() throws IOException {
        JsonNode submit = new ObjectMapper()
                .readTree(DEPLOY.resolve("airflow/spark_submit.json").toFile());

        JsonNode operator = submit.path("operator");
        List<String> names = new ArrayList<>();
        operator.fieldNames().forEachRemaining(names::add);
        assertThat(OPERATOR).containsAll(names);
        assertThat(operator.path("java_class").asText()).isEqualTo(Main.class.getName());
        NEEDED.forEach((key, value) ->
                assertThat(operator.path("conf").path(key).asText()).as(key).isEqualTo(value));
        assertThat(parsed(submit.path("run")).overrides())
                .containsEntry("num_ranks", operator.path("num_executors").asText());
        assertThat(Files.readString(DEPLOY.resolve("airflow/ulysses_dag.py")))
                .contains(
                        "[*SUBMIT[\"run\"], \"--date\", \"{{ ds }}\"]",
                        "[\"prepare\", *run, \"--device\", \"cpu\"]",
                        "[\"train\", *trained]",
                        "CronDataIntervalTimetable(");
        JsonNode prepare = submit.path("prepare");
        names.clear();
        prepare.fieldNames().forEachRemaining(names::add);
        assertThat(OPERATOR).containsAll(names);
        prepare.path("conf")
                .fieldNames()
                .forEachRemaining(key -> assertThat(key).doesNotContain("gpu", "memoryOverhead"));
    }

    @Test
    void submitsToStandaloneWithAllCoresOfAllRanks() throws Exception {
        List<String> line =
                dryRun("--master", "spark://h:7077", "--ranks", "4", "--ranks-per-executor", "2", "--cores", "3");

        assertThat(settings(line))
                .containsAllEntriesOf(NEEDED)
                .containsEntry("spark.executor.instances", "2")
                .containsEntry("spark.executor.cores", "6")
                .containsEntry("spark.ulysses.rank.cores", "3")
                .containsEntry("spark.cores.max", "12")
                .containsEntry("spark.executor.resource.gpu.amount", "2")
                .doesNotContainKeys("spark.task.resource.gpu.amount", "spark.executor.memoryOverhead");
        assertThat(line).contains("--archives").endsWith("train", "run.yaml", "--num_ranks", "4", "--device", "cuda");
        assertThat(CommandLine.parse(line.subList(line.indexOf("train"), line.size()), Map.of())
                        .file())
                .isEqualTo("run.yaml");
    }

    @ParameterizedTest(name = "{0} cores, {1} ranks an executor: {2}")
    @CsvSource({"1, 1, 4096m", "13, 1, 4096m", "14, 1, 4352m", "8, 8, 17152m"})
    void anExecutorsHeapGrowsWithItsCores(String cores, String perExecutor, String heap) throws Exception {
        List<String> line = dryRun(
                "--master", "yarn", "--ranks", perExecutor, "--ranks-per-executor", perExecutor, "--cores", cores);

        assertThat(line.get(line.indexOf("--executor-memory") + 1)).isEqualTo(heap);
    }

    @Test
    void aGivenHeapStays() throws Exception {
        List<String> line = dryRun("--master", "yarn", "--cores", "32", "--executor-memory", "3g");

        assertThat(line.get(line.indexOf("--executor-memory") + 1)).isEqualTo("3g");
    }

    /** Which has no resource profiles. */
    @Test
    void givesCoresOfARankAsThoseOfTasksInLocalMode() throws Exception {
        List<String> line = dryRun("--master", "local[2]", "--device", "cpu", "--cores", "2");

        assertThat(settings(line)).containsEntry("spark.task.cpus", "2").doesNotContainKey("spark.ulysses.rank.cores");
    }

    @Test
    void submitsToYarnWithTheMemoryOfRanksBesideTheHeap() throws Exception {
        List<String> line =
                dryRun("--master", "yarn", "--ranks", "2", "--ranks-per-executor", "2", "--rank-memory", "48g");

        assertThat(settings(line))
                .containsAllEntriesOf(NEEDED)
                .containsEntry("spark.executor.memoryOverhead", "96g")
                .containsEntry("spark.yarn.maxAppAttempts", "1")
                .containsEntry("spark.executor.resource.gpu.discoveryScript", "./discover-gpus.sh");
    }

    @Test
    void submitsToKubernetesFromWhatTheImageHolds() throws Exception {
        List<String> line = dryRun(
                "--master",
                "k8s://https://h:6443",
                "--image",
                "ulysses:1",
                "--deploy-mode",
                "cluster",
                "--device",
                "cpu");

        assertThat(line).contains("local:///opt/ulysses/ulysses-on-spark.jar").doesNotContain("--archives");
        assertThat(settings(line))
                .containsEntry("spark.ulysses.rank.natives", "/opt/ulysses/ulysses-natives")
                .containsEntry("spark.kubernetes.container.image", "ulysses:1")
                .doesNotContainKey("spark.executor.resource.gpu.amount");
    }

    /** Its driver runs here, and serves executors what it was given. */
    @Test
    void submitsToKubernetesFromThisMachineInClientMode() throws Exception {
        List<String> line = dryRun("--master", "k8s://https://h:6443", "--image", "ulysses:1");

        assertThat(line).noneMatch(word -> word.startsWith("local:"));
        assertThat(settings(line))
                .containsEntry("spark.executor.resource.gpu.discoveryScript", "/opt/ulysses/deploy/discover-gpus.sh");
    }

    @ParameterizedTest(name = "{0}")
    @CsvSource(
            delimiter = '|',
            value = {
                "run.yaml | --master is missing; name the cluster",
                "--master yarn | no configuration: name a YAML file",
                "--master yarn --ranks 3 --ranks-per-executor 2 run.yaml | --ranks 3: is not a multiple of --ranks-per-executor 2",
                "--master yarn --ranks 0 run.yaml | --ranks 0: must be a whole number of at least 1",
                "--master yarn --device gpu run.yaml | --device gpu: use cpu or cuda",
                "--master yarn --rank-memory 64 run.yaml | --rank-memory 64: give megabytes or gigabytes",
                "--master k8s://h run.yaml | --image is missing; name the image that deploy/Dockerfile made",
                "--master mesos://h run.yaml | --master mesos://h: use spark://..., yarn or k8s://...",
                "--master yarn prepare | prepare: name a YAML file",
                "--master spark://h:7077 --deploy-mode cluster run.yaml | --deploy-mode cluster: on spark://h:7077 nobody learns how"
            })
    void saysWhatIsWrongBeforeAnythingIsSubmitted(String arguments, String message) throws Exception {
        JobRun run = submit(arguments);

        assertThat(run.code()).isEqualTo(2);
        assertThat(run.err()).startsWith("error: " + message);
    }

    /** What spark-submit 4.1.3 logged of a driver on Kubernetes 1.33 that had a wrong key; it exited with 0. */
    @ParameterizedTest(name = "exit code {0}")
    @CsvSource({"2,2", "0,0", "unknown,5"})
    void endsAsTheDriverOnKubernetes(String driver, int expected) throws Exception {
        Path submit = Files.createDirectories(folder.resolve("spark/bin")).resolve("spark-submit");
        Files.writeString(submit, """
                #!/bin/sh
                echo '         pod name: ulysses-on-spark-1f36b5a21e685078-driver'
                echo '         container name: sidecar'
                echo '         exit code: 137'
                echo '         container name: spark-kubernetes-driver'
                echo '         exit code: %s'
                echo '         termination reason: Error'
                """.formatted(driver).replace("echo '         exit code: unknown'\n", ""));
        assertThat(submit.toFile().setExecutable(true)).isTrue();

        JobRun run = submit("--master k8s://https://host --deploy-mode cluster --image i s3a://conf/run.yaml");

        assertThat(run.code()).isEqualTo(expected);
        assertThat(run.err())
                .isEqualTo(
                        expected == 0
                                ? ""
                                : "error: the driver ended with exit code %s; its log: kubectl logs ulysses-on-spark-1f36b5a21e685078-driver%n"
                                        .formatted(driver));
    }

    @Test
    void saysWhenNothingIsBuilt() throws Exception {
        submit("--help");
        Files.delete(folder.resolve("ulysses-on-spark.jar"));

        JobRun run = run(List.of("--master", "yarn", "run.yaml"));

        assertThat(run.code()).isEqualTo(2);
        assertThat(run.err()).contains("has neither ulysses-on-spark.jar nor a build; run: mvn -B -DskipTests package");
    }

    @Test
    void statusSaysWhenNoRunWroteThere() {
        JobRun run = JobRun.of("status", folder.toString());

        assertThat(run.code()).isEqualTo(2);
        assertThat(run.err()).contains("holds no run_events.jsonl, so no run of ours wrote there");
        assertThat(JobRun.of("status").err()).contains("status needs a run to look at");
    }

    private static JsonNode manifest(String file, String kind) throws IOException {
        YAMLMapper yaml = new YAMLMapper();
        try (MappingIterator<JsonNode> documents = yaml.readerFor(JsonNode.class)
                .readValues(DEPLOY.resolve("kubernetes").resolve(file).toFile())) {
            return documents.readAll().stream()
                    .filter(document -> document.path("kind").asText().equals(kind))
                    .findFirst()
                    .orElseThrow();
        }
    }

    private static CommandLine parsed(JsonNode arguments) {
        List<String> words = StreamSupport.stream(arguments.spliterator(), false)
                .map(JsonNode::asText)
                .toList();
        return CommandLine.parse(words, Map.of());
    }

    /** The spark-submit line, word by word. */
    private List<String> dryRun(String... options) throws IOException, InterruptedException {
        List<String> arguments = new ArrayList<>(List.of(options));
        arguments.addAll(List.of("--dry-run", "run.yaml"));
        JobRun run = submit(arguments);
        assertThat(run.code()).as(run.err()).isZero();
        return List.of(run.out().strip().replace("\\", "").split(" ", -1));
    }

    private static Map<String, String> settings(List<String> line) {
        Map<String, String> settings = new LinkedHashMap<>();
        for (int i = 0; i < line.size() - 1; i++) {
            if (line.get(i).equals("--conf")) {
                String[] pair = line.get(i + 1).split("=", 2);
                settings.put(pair[0], pair[1]);
            }
        }
        return settings;
    }

    /** Runs submit.sh from a folder that looks like an unpacked distribution. */
    private JobRun submit(String arguments) throws IOException, InterruptedException {
        return submit(List.of(arguments.split(" ", -1)));
    }

    private JobRun submit(List<String> arguments) throws IOException, InterruptedException {
        Path scripts = Files.createDirectories(folder.resolve("deploy"));
        for (String name : List.of("submit.sh", "discover-gpus.sh")) {
            Files.copy(DEPLOY.resolve(name), scripts.resolve(name));
        }
        Files.createFile(folder.resolve("ulysses-on-spark.jar"));
        return run(arguments);
    }

    private JobRun run(List<String> arguments) throws IOException, InterruptedException {
        List<String> command = new ArrayList<>(List.of("bash", "deploy/submit.sh"));
        command.addAll(arguments);
        File out = folder.resolve("out").toFile();
        File err = folder.resolve("err").toFile();
        ProcessBuilder builder = new ProcessBuilder(command)
                .directory(folder.toFile())
                .redirectOutput(out)
                .redirectError(err);
        builder.environment().put("SPARK_HOME", folder.resolve("spark").toString());
        Process process = builder.start();
        assertThat(process.waitFor(30, TimeUnit.SECONDS)).isTrue();
        return new JobRun(
                process.exitValue(),
                Files.readString(out.toPath(), StandardCharsets.UTF_8),
                Files.readString(err.toPath(), StandardCharsets.UTF_8));
    }
}
