package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.tuple;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.collective.RankProcesses;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.data.PackedRow;
import ulysses.runtime.data.PackedRows;
import ulysses.runtime.mesh.EvaluationSet;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.model.SmallModels;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ModelSpec;

/** Ranks as the processes that a Spark task starts: assignment on standard input, events on standard output. */
@Timeout(300)
final class RankMainTest {

    private static final Duration TIMEOUT = Duration.ofSeconds(90);
    private static final int STEPS = 6;

    @TempDir
    private Path folder;

    @BeforeEach
    void writeModelAndRows() throws IOException {
        Files.createDirectories(folder.resolve("model"));
        Files.writeString(folder.resolve("model/config.json"), """
                {"model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 32, "intermediate_size": 48,
                 "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": %d,
                 "hidden_act": "silu", "rms_norm_eps": 1e-5, "max_position_embeddings": 128, "rope_theta": 10000.0,
                 "initializer_range": 0.1}
                """.formatted(SmallModels.VOCABULARY));
        writeRows("train", SmallModels.rows(61, 24, 20));
        writeRows("eval", SmallModels.rows(62, 6, 20));
        writeRows("eval_few", SmallModels.rows(63, 2, 20));
    }

    @Test
    void twoRanksTrainAndLeaveLogsCheckpointAndModel() throws IOException {
        TrainingConfig config = config("""
                save_steps: 3
                profile: true
                eval_strategy: steps
                eval_steps: 3
                eval_dataset: unused
                do_eval: true
                """);
        try (RankProcesses ranks = start(config, 2)) {
            List<RankProcesses.Outcome> outcomes = ranks.await(TIMEOUT);

            for (RankProcesses.Outcome outcome : outcomes) {
                assertThat(outcome.exitCode()).as(outcome.log()).isZero();
                assertThat(outcome.events()).endsWith(new RankEvent.Done(outcome.rank(), STEPS));
                assertThat(outcome.otherOutput()).isEmpty();
            }
            List<RankEvent.Step> steps = of(outcomes.get(0), RankEvent.Step.class);
            assertThat(steps).extracting(RankEvent.Step::step).containsExactly(1L, 2L, 3L, 4L, 5L, 6L);
            assertThat(steps).allSatisfy(step -> {
                assertThat(step.loss()).isBetween(2.0, 7.0);
                assertThat(step.totalSteps()).isEqualTo(STEPS);
                assertThat(step.peakBytes()).isPositive();
            });
            assertThat(of(outcomes.get(0), RankEvent.Saved.class))
                    .extracting(RankEvent.Saved::step)
                    .containsExactly(3L, 6L);
            assertThat(of(outcomes.get(0), RankEvent.Evaluated.class))
                    .extracting(RankEvent.Evaluated::step, RankEvent.Evaluated::set)
                    .containsExactly(
                            tuple(3L, "eval"),
                            tuple(3L, "eval_few"),
                            tuple(6L, "eval"),
                            tuple(6L, "eval_few"),
                            tuple(6L, "eval"),
                            tuple(6L, "eval_few"));
            assertThat(of(outcomes.get(1), RankEvent.Step.class)).isEmpty();
            operationsAreThoseOfAllGroups(steps, of(outcomes.get(0), RankEvent.Measured.class));
            logsHoldWhatWasReported(steps);
            tracesHoldTheThirdStep();
            resultsHoldEachSet(of(outcomes.get(0), RankEvent.Evaluated.class));
        }
        assertThat(files("output"))
                .contains(
                        "config.json",
                        "model.safetensors",
                        "trainer_log.jsonl",
                        "trainer_state.json",
                        "train_results.json",
                        "eval_results.json",
                        "all_results.json");
        assertThat(files("output/checkpoint-3")).contains("MANIFEST.json", "trainer_state.json");
    }

    private void operationsAreThoseOfAllGroups(List<RankEvent.Step> steps, List<RankEvent.Measured> measured) {
        ModelSpec spec = ModelDirectory.open(folder.resolve("model").toString(), new Configuration())
                .spec();
        double ofAllRows = SmallModels.rows(61, 24, 20).stream()
                .flatMapToInt(row -> Arrays.stream(row.documentLengths()))
                .mapToDouble(spec::flopsOfDocument)
                .sum();
        long tokens = SmallModels.rows(61, 24, 20).stream()
                .mapToLong(PackedRow::tokens)
                .sum();
        long seen = steps.stream().mapToLong(RankEvent.Step::tokens).sum();
        assertThat(seen % tokens).as("whole passes over the rows").isZero();
        assertThat(measured.stream().mapToDouble(RankEvent.Measured::operations).sum())
                .isCloseTo(ofAllRows * seen / tokens, withinPercentage(1e-9));
    }

    /** Phases in order, waits inside of them, what the writer did, and the operations between ranks, by bytes. */
    private void tracesHoldTheThirdStep() throws IOException {
        for (int rank = 0; rank < 2; rank++) {
            Path file = folder.resolve("output/profile/step-3-rank0000%d.json".formatted(rank));
            List<JsonNode> events = new ArrayList<>();
            json(Files.readString(file)).get("traceEvents").forEach(events::add);
            assertThat(events).extracting(event -> event.get("pid").asInt()).containsOnly(rank);
            List<JsonNode> steps = spans(events, 0);
            assertThat(steps.stream().map(RankMainTest::name).filter(name -> !name.startsWith("wait for")))
                    .containsExactly(
                            "read rows",
                            "forward",
                            "head and loss",
                            "backward",
                            "forward",
                            "head and loss",
                            "backward",
                            "sum gradients over ranks",
                            "gradient norm",
                            "optimizer",
                            "evaluate",
                            "evaluate",
                            "copy for the checkpoint");
            assertThat(steps.stream().map(RankMainTest::name)).contains("wait for all-to-all", "wait for all-reduce");
            liesInsideOrBehind(steps);
            assertThat(spans(events, 1).stream().map(RankMainTest::name))
                    .containsExactlyElementsOf(
                            rank == 0
                                    ? List.of(
                                            "write the checkpoint's part",
                                            "wait for the parts of other ranks",
                                            "commit the checkpoint")
                                    : List.of("write the checkpoint's part"));
            List<JsonNode> exchanges = of(events, "b").stream()
                    .filter(event -> name(event).equals("all-to-all"))
                    .toList();
            assertThat(exchanges).hasSizeGreaterThanOrEqualTo(2 * 2 * 4); // micro-batches, layers, two each way
            assertThat(exchanges).allSatisfy(event -> {
                assertThat(event.at("/args/bytes").asLong()).isPositive();
                assertThat(event.at("/args/group").asText()).isEqualTo("sequence-parallel group 0 of 1");
            });
            assertThat(of(events, "e")).hasSameSizeAs(of(events, "b"));
        }
    }

    private static void liesInsideOrBehind(List<JsonNode> spans) {
        for (int i = 1; i < spans.size(); i++) {
            JsonNode span = spans.get(i);
            for (JsonNode before : spans.subList(0, i)) {
                assertThat(span.get("ts").asLong() >= end(before) || end(span) <= end(before))
                        .as("%s lies in %s or behind it", span, before)
                        .isTrue();
            }
        }
    }

    private static long end(JsonNode span) {
        return span.get("ts").asLong() + span.get("dur").asLong();
    }

    private static String name(JsonNode event) {
        return event.get("name").asText();
    }

    private static List<JsonNode> of(List<JsonNode> events, String kind) {
        return events.stream()
                .filter(event -> event.get("ph").asText().equals(kind))
                .toList();
    }

    private static List<JsonNode> spans(List<JsonNode> events, int track) {
        return of(events, "X").stream()
                .filter(event -> event.get("tid").asInt() == track)
                .sorted(Comparator.comparingLong(
                                (JsonNode event) -> event.get("ts").asLong())
                        .thenComparingLong(event -> -event.get("dur").asLong()))
                .toList();
    }

    private void logsHoldWhatWasReported(List<RankEvent.Step> steps) throws IOException {
        List<JsonNode> lines = Files.readAllLines(folder.resolve("output/trainer_log.jsonl")).stream()
                .map(RankMainTest::json)
                .filter(line -> line.has("loss"))
                .toList();
        assertThat(lines).hasSize(STEPS);
        for (int step = 0; step < STEPS; step++) {
            assertThat(lines.get(step).get("current_steps").asInt()).isEqualTo(step + 1);
            assertThat(lines.get(step).get("loss").asDouble())
                    .isCloseTo(steps.get(step).loss(), within(1e-4));
        }
    }

    private void resultsHoldEachSet(List<RankEvent.Evaluated> evaluations) throws IOException {
        JsonNode results = json(Files.readString(folder.resolve("output/eval_results.json")));
        assertThat(results.get("eval_loss").asDouble())
                .isEqualTo(evaluations.get(4).loss())
                .isEqualTo(evaluations.get(2).loss());
        assertThat(results.get("eval_few_loss").asDouble())
                .isEqualTo(evaluations.get(5).loss())
                .isNotEqualTo(evaluations.get(4).loss());
        assertThat(results.has("eval_few_samples_per_second")).isTrue();
    }

    @Test
    void aLongEvaluationSaysThatItGoesOn() throws IOException {
        writeRows("eval", SmallModels.rows(64, 1500, 20));
        TrainingConfig config =
                config("max_steps: 1\neval_dataset: unused\ndo_eval: true\nper_device_eval_batch_size: 1");
        try (RankProcesses ranks = start(config, 1)) {
            RankProcesses.Outcome outcome = ranks.await(TIMEOUT).get(0);

            assertThat(outcome.exitCode()).as(outcome.log()).isZero();
            assertThat(of(outcome, RankEvent.Phase.class))
                    .filteredOn(phase -> phase.phase().equals("evaluate"))
                    .hasSizeGreaterThan(1);
        }
    }

    @Test
    void twoRanksReportTheLossesOfOne() throws IOException {
        List<Double> one = losses(config("output_dir: " + folder.resolve("one")), 1);
        List<Double> two = losses(config("zero_stage: 3\noutput_dir: " + folder.resolve("two")), 2);

        assertThat(folder.resolve("one/profile")).doesNotExist();
        assertThat(one).hasSize(STEPS);
        for (int step = 0; step < STEPS; step++) {
            assertThat(two.get(step)).isCloseTo(one.get(step), within(1e-5));
        }
        assertThat(Files.size(folder.resolve("two/model.safetensors")))
                .isEqualTo(Files.size(folder.resolve("one/model.safetensors")));
    }

    @Test
    void aCheckpointOfTheModelAloneHoldsNoStatesAndIsNotGoneOnFrom() throws IOException {
        TrainingConfig config = config("save_steps: 3\nsave_only_model: true");

        assertThat(losses(config, 1)).hasSize(STEPS);

        try (Stream<Path> files = Files.walk(folder.resolve("output/checkpoint-6"))) {
            assertThat(files.map(file -> file.getFileName().toString()))
                    .contains("MANIFEST.json", "model-rank00000-of-00001.safetensors")
                    .noneMatch(name -> name.contains("optimizer"));
        }
        RankEvent.Failed again = failure(config);
        assertThat(again.kind()).isEqualTo("config");
        assertThat(again.message()).contains("checkpoint-6 holds the model alone (save_only_model true)");
    }

    @Test
    void goesOnWithTheSameRowsAStepAlone() throws IOException {
        assertThat(losses(config("max_steps: 3"), 1)).hasSize(3);

        RankEvent.Failed batch = failure(config("gradient_accumulation_steps: 4"));
        RankEvent.Failed seed = failure(config("data_seed: 7"));
        List<Double> onOtherRanks = losses(config("per_device_train_batch_size: 1\ngradient_accumulation_steps: 4"), 2);

        assertThat(List.of(batch.kind(), seed.kind())).containsOnly("config");
        assertThat(batch.message())
                .contains(
                        "checkpoint-3 was trained with global_batch 4, seed 42, data_seed 42, disable_shuffling false")
                .contains("but this run has global_batch 8, seed 42,")
                .contains("set these as they were");
        assertThat(seed.message()).contains("this run has global_batch 4, seed 42, data_seed 7,");
        assertThat(onOtherRanks).hasSize(STEPS - 3);
    }

    private RankEvent.Failed failure(TrainingConfig config) {
        try (RankProcesses ranks = start(config, 1)) {
            return of(ranks.await(TIMEOUT).get(0), RankEvent.Failed.class).get(0);
        }
    }

    @Test
    void aKilledRankEndsTheOtherAsFailureOfTheInfrastructure() {
        TrainingConfig config = config("max_steps: 100000\nddp_timeout: 20");
        try (RankProcesses ranks = start(config, 2)) {
            ranks.awaitEvent(0, event -> event instanceof RankEvent.Step step && step.step() >= 2, TIMEOUT);

            long begin = System.nanoTime();
            ranks.kill(1);
            List<RankProcesses.Outcome> outcomes = ranks.await(TIMEOUT);

            assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(Duration.ofSeconds(25));
            assertThat(outcomes.get(1).exitCode()).isEqualTo(137);
            assertThat(outcomes.get(0).exitCode()).isEqualTo(1);
            RankEvent last =
                    outcomes.get(0).events().get(outcomes.get(0).events().size() - 1);
            assertThat(last).isInstanceOf(RankEvent.Failed.class);
            assertThat(((RankEvent.Failed) last).kind()).isEqualTo("infrastructure");
            assertThat(((RankEvent.Failed) last).message()).contains("A rank of the group has ended");
            assertThat(((RankEvent.Failed) last).step()).isGreaterThanOrEqualTo(2);
        }
    }

    @Test
    void aRankHaltsWhenItsStandardInputCloses() {
        TrainingConfig config = config("max_steps: 100000\nddp_timeout: 20");
        try (RankProcesses ranks = start(config, 2)) {
            ranks.awaitEvent(0, event -> event instanceof RankEvent.Step, TIMEOUT);

            long begin = System.nanoTime();
            ranks.closeInput(0);
            ranks.closeInput(1);
            List<RankProcesses.Outcome> outcomes = ranks.await(TIMEOUT);

            assertThat(Duration.ofNanos(System.nanoTime() - begin)).isLessThan(Duration.ofSeconds(10));
            assertThat(outcomes).extracting(RankProcesses.Outcome::exitCode).containsOnly(70);
            assertThat(of(outcomes.get(0), RankEvent.Failed.class)).isEmpty();
        }
    }

    @Test
    void aModelThatIsNotThereIsTheUsersMistake() {
        TrainingConfig config = config("model_name_or_path: " + folder.resolve("absent"));
        try (RankProcesses ranks = start(config, 1)) {
            RankProcesses.Outcome outcome = ranks.await(TIMEOUT).get(0);

            assertThat(outcome.exitCode()).isEqualTo(1);
            RankEvent.Failed failed = of(outcome, RankEvent.Failed.class).get(0);
            assertThat(failed.kind()).isEqualTo("config");
            assertThat(failed.message()).contains("absent");
        }
    }

    private List<Double> losses(TrainingConfig config, int ranks) {
        try (RankProcesses processes = start(config, ranks)) {
            RankProcesses.Outcome outcome = processes.await(TIMEOUT).get(0);
            assertThat(outcome.exitCode()).as(outcome.log()).isZero();
            return of(outcome, RankEvent.Step.class).stream()
                    .map(RankEvent.Step::loss)
                    .toList();
        }
    }

    private RankProcesses start(TrainingConfig config, int ranks) {
        Stream<String> sets = config.evaluation().doEval() ? Stream.of("eval", "eval_few") : Stream.empty();
        List<EvaluationSet> evalRows = sets.map(
                        set -> new EvaluationSet(set, folder.resolve(set).toString()))
                .toList();
        AssignmentLine line = new AssignmentLine(
                config,
                ranks,
                folder.resolve("train").toString(),
                evalRows,
                folder.resolve("scratch").toString());
        return RankProcesses.start(RankMain.class, ranks, TIMEOUT, line::of);
    }

    /** A run of {@link #STEPS} steps of four rows; {@code more} keys win. */
    private TrainingConfig config(String more) {
        try {
            Path yaml = Files.writeString(folder.resolve("train.yaml"), """
                    finetuning_type: full
                    train_from_scratch: true
                    dataset: unused
                    template: default
                    per_device_train_batch_size: 2
                    gradient_accumulation_steps: 2
                    learning_rate: 1.0e-3
                    logging_steps: 1
                    per_device_eval_batch_size: 2
                    """);
            ConfigFile.Sources sources = ConfigFile.Sources.ofFile(yaml.toString())
                    .with("model_name_or_path", folder.resolve("model").toString())
                    .with("output_dir", folder.resolve("output").toString())
                    .with("max_steps", Integer.toString(STEPS));
            for (String line : more.lines().toList()) {
                sources = sources.with(
                        line.substring(0, line.indexOf(':')),
                        line.substring(line.indexOf(':') + 1).strip());
            }
            return ConfigFile.load(sources, new Configuration()).config();
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    private void writeRows(String name, List<PackedRow> rows) throws IOException {
        PackedRows.write(folder.resolve(name).toString(), rows, name, new Configuration());
    }

    private List<String> files(String name) throws IOException {
        try (Stream<Path> files = Files.list(folder.resolve(name))) {
            return files.map(file -> file.getFileName().toString()).toList();
        }
    }

    private static <E extends RankEvent> List<E> of(RankProcesses.Outcome outcome, Class<E> type) {
        return outcome.events().stream()
                .filter(type::isInstance)
                .map(type::cast)
                .toList();
    }

    private static JsonNode json(String line) {
        try {
            return new ObjectMapper().readTree(line);
        } catch (JsonProcessingException e) {
            throw new AssertionError(line, e);
        }
    }
}
