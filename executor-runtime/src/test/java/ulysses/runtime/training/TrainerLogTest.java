package ulysses.runtime.training;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneId;
import java.time.ZoneOffset;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.StorageException;

/** Against the files that LLaMA-Factory 0.9.5 wrote for the reference case sft-eval-qwen2. */
final class TrainerLogTest {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final long TOKENS = 100;

    @TempDir
    private Path temporary;

    private Folder output;
    private final Hand clock = new Hand();

    /** A clock that is moved by hand. */
    private static final class Hand extends Clock {
        private Instant now = Instant.EPOCH;

        void move(double seconds) {
            now = now.plus(Duration.ofMillis(Math.round(seconds * 1000)));
        }

        @Override
        public ZoneId getZone() {
            return ZoneOffset.UTC;
        }

        @Override
        public Clock withZone(ZoneId zone) {
            return this;
        }

        @Override
        public Instant instant() {
            return now;
        }
    }

    @BeforeEach
    void open() {
        output = Folder.at(temporary.toString(), new Configuration(false));
    }

    private static TrainerRun run(int loggingSteps) {
        return new TrainerRun(18, 1, loggingSteps, 4, 500, 2, 1000, false);
    }

    private static String reference(String name) throws IOException {
        String path = "/training/sft-eval-qwen2/" + name;
        try (InputStream in = Objects.requireNonNull(TrainerLogTest.class.getResourceAsStream(path), path)) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        }
    }

    /** Notes what the reference has from step {@code first} to {@code last}. */
    private void replay(TrainerLog log, long first, long last) throws IOException {
        for (JsonNode entry : JSON.readTree(reference("trainer_state.json")).get("log_history")) {
            long step = entry.get("step").asLong();
            if (step < first || step > last) {
                continue;
            }
            if (entry.has("loss")) {
                clock.move(0.6);
                log.step(new TrainerLog.Step(
                        step,
                        entry.get("epoch").asDouble(),
                        entry.get("loss").asDouble(),
                        entry.get("grad_norm").asDouble(),
                        entry.get("learning_rate").asDouble(),
                        TOKENS));
            } else if (entry.has("eval_loss")) {
                log.evaluated(new TrainerLog.Evaluation(
                        "eval",
                        entry.get("eval_loss").asDouble(),
                        Map.of(),
                        entry.get("eval_runtime").asDouble(),
                        16,
                        8));
            }
        }
    }

    private static void withoutTimes(JsonNode node) {
        if (node instanceof ObjectNode object) {
            object.remove(List.of(
                    "elapsed_time",
                    "remaining_time",
                    "throughput",
                    "total_tokens",
                    "num_input_tokens_seen",
                    "total_flos",
                    "stateful_callbacks",
                    "train_runtime",
                    "train_samples_per_second",
                    "train_steps_per_second",
                    "eval_runtime",
                    "eval_samples_per_second",
                    "eval_steps_per_second"));
        }
        node.forEach(TrainerLogTest::withoutTimes);
    }

    private static JsonNode comparable(String json) throws IOException {
        JsonNode node = JSON.readTree(json);
        withoutTimes(node);
        return node;
    }

    private static List<JsonNode> comparableLines(String lines) throws IOException {
        List<JsonNode> nodes = new ArrayList<>();
        for (String line : lines.lines().toList()) {
            nodes.add(comparable(line));
        }
        return nodes;
    }

    @Test
    void writesWhatLlamaFactoryWrites() throws IOException {
        TrainerLog log = TrainerLog.begin(output, run(1), clock);

        replay(log, 1, 18);
        log.finish(144);

        assertThat(comparableLines(output.readText(TrainerLog.LOG)))
                .isEqualTo(comparableLines(reference("trainer_log.jsonl")));
        assertThat(comparable(output.readText(TrainerLog.STATE)))
                .isEqualTo(comparable(reference("trainer_state.json")));
        assertThat(output.readText(TrainerLog.LOG).lines().findFirst().orElseThrow())
                .startsWith(
                        "{\"current_steps\": 1, \"total_steps\": 18, \"loss\": 8.829968452453613, \"lr\": 0.0, \"epoch\": 0.05555555555555555,"
                                + " \"percentage\": 5.56, \"elapsed_time\": \"0:00:00\", \"remaining_time\": \"0:00:10\"");
        assertThat(output.readText(TrainerLog.STATE).lines().limit(3))
                .containsExactly("{", "  \"best_global_step\": null,", "  \"best_metric\": null,");
    }

    @Test
    void resultsAreThoseOfTrainingAndEvaluationTogether() throws IOException {
        TrainerLog log = TrainerLog.begin(output, run(1), clock);
        replay(log, 1, 18);
        log.finish(144);

        log.finalEvaluations(List.of(new TrainerLog.Evaluation("eval", 8.729094505310059, Map.of(), 0.35, 16, 8)));

        JsonNode train = JSON.readTree(output.readText("train_results.json"));
        assertThat(train.get("train_loss").asDouble()).isCloseTo(8.776195314195421, within(1e-7));
        assertThat(train.get("train_runtime").asDouble()).isEqualTo(10.8);
        assertThat(train.get("train_samples_per_second").asDouble()).isEqualTo(13.333);
        assertThat(train.get("num_input_tokens_seen").asLong()).isEqualTo(1800);
        assertThat(train.get("total_flos").asDouble()).isEqualTo(6.0 * 1800 * 1000);
        JsonNode all = JSON.readTree(output.readText("all_results.json"));
        assertThat(all.get("eval_loss").asDouble()).isEqualTo(8.729094505310059);
        assertThat(all.get("eval_samples_per_second").asDouble()).isEqualTo(45.714);
        JSON.readTree(reference("all_results.json"))
                .fieldNames()
                .forEachRemaining(name -> assertThat(all.has(name)).as(name).isTrue());
        assertThat(output.has("eval_results.json")).isTrue();
    }

    @Test
    void pretrainingReportsPerplexity() throws IOException {
        TrainerRun pretraining = new TrainerRun(18, 1, 1, 4, 500, 2, 1000, true);

        TrainerLog.begin(output, pretraining, clock)
                .finalEvaluations(List.of(new TrainerLog.Evaluation("eval", 2, Map.of(), 1, 1, 1)));

        assertThat(JSON.readTree(output.readText("eval_results.json"))
                        .get("perplexity")
                        .asDouble())
                .isEqualTo(Math.exp(2));
    }

    @ParameterizedTest
    @CsvSource({"1,7", "4,7", "5,10", "3,1"})
    void aResumedRunLogsWhatAnUninterruptedOneDoes(int loggingSteps, long savedAt) throws IOException {
        Folder whole = output.folder("whole");
        TrainerLog uninterrupted = TrainerLog.begin(whole, run(loggingSteps), clock);
        replay(uninterrupted, 1, 18);
        uninterrupted.finish(144);
        Folder parts = output.folder("parts");
        TrainerLog first = TrainerLog.begin(parts, run(loggingSteps), clock);
        replay(first, 1, savedAt);
        String saved = first.save();
        replay(first, savedAt + 1, savedAt + 3);
        first.save();

        clock.move(1000);
        TrainerLog second = TrainerLog.resume(parts, run(loggingSteps), clock, saved);
        replay(second, savedAt + 1, 18);
        second.finish(144);

        for (String file : List.of(TrainerLog.LOG, TrainerLog.STATE, "train_results.json", "all_results.json")) {
            assertThat(parts.readText(file)).as(file).isEqualTo(whole.readText(file));
        }
    }

    @Test
    void logsTheMeanSinceTheLastLog() throws IOException {
        TrainerLog log = TrainerLog.begin(output, run(2), clock);

        assertThat(log.step(new TrainerLog.Step(1, 0.1, 3, 1, 1e-5, TOKENS))).isEmpty();
        assertThat(log.step(new TrainerLog.Step(2, 0.2, 4, 2, 2e-5, TOKENS)))
                .isEqualTo(Map.of("epoch", 0.2, "grad_norm", 2.0, "learning_rate", 2e-5, "loss", 3.5, "step", 2.0));

        JsonNode history = JSON.readTree(log.save()).get("log_history");
        assertThat(history).hasSize(1);
        assertThat(history.get(0).get("loss").asDouble()).isEqualTo(3.5);
        assertThat(history.get(0).get("grad_norm").asDouble()).isEqualTo(2);
    }

    @Test
    void metricsAreMeansOverThePairsSinceTheLastLog() throws IOException {
        TrainerLog log = TrainerLog.begin(output, run(2), clock);

        log.step(preference(1, 3, 4, 0.5));
        String saved = log.save();
        TrainerLog resumed = TrainerLog.resume(output, run(2), clock, saved);
        Map<String, Double> logged = resumed.step(preference(2, 5, 1, 1.0));
        resumed.step(preference(3, 3, 4, 0.25));
        Map<String, Double> next = resumed.step(preference(4, 3, 4, 0.75));
        resumed.evaluated(new TrainerLog.Evaluation("eval", 2, Map.of("rewards/accuracies", 0.9), 1, 8, 4));
        resumed.save();

        assertThat(logged).containsEntry("loss", 4.0).containsEntry("rewards/accuracies", 0.6); // (4 x 0.5 + 1) / 5
        assertThat(next).containsEntry("rewards/accuracies", 0.5);
        List<String> lines = output.readText(TrainerLog.LOG).lines().toList();
        assertThat(lines.get(0)).contains("\"loss\": 4.0, \"accuracy\": 0.6, \"lr\"");
        assertThat(lines.get(2)).contains("eval_loss").doesNotContain("accuracy");
        assertThat(JSON.readTree(output.readText(TrainerLog.STATE))
                        .get("log_history")
                        .get(2)
                        .get("eval_rewards/accuracies")
                        .asDouble())
                .isEqualTo(0.9);
    }

    private static TrainerLog.Step preference(long step, double loss, long pairs, double accuracy) {
        return new TrainerLog.Step(
                step, 0.1 * step, loss, Map.of("rewards/accuracies", accuracy), pairs, 1, 1e-5, TOKENS);
    }

    @Test
    void gradientStrategiesStandBesideTheStep() throws IOException {
        TrainerLog log = TrainerLog.begin(output, run(1), clock);
        log.alongside(Map.of("grad_mean_abs", 2e-4, "fired/noise", 0.5, "fired/clip", 0.0));

        Map<String, Double> logged = log.step(new TrainerLog.Step(1, 0.1, 3, 1, 1e-5, TOKENS));
        log.step(new TrainerLog.Step(2, 0.2, 3, 1, 1e-5, TOKENS));
        log.save();

        assertThat(logged).containsEntry("grad_mean_abs", 2e-4).containsEntry("fired/noise", 0.5);
        List<String> lines = output.readText(TrainerLog.LOG).lines().toList();
        assertThat(lines.get(0)).contains("\"grad_mean_abs\": 2.0E-4").contains("\"fired\": [\"noise\"]");
        assertThat(lines.get(1)).doesNotContain("fired");
    }

    @Test
    void aLineThatWasCutOffIsDroppedOnResume() {
        TrainerLog log = TrainerLog.begin(output, run(1), clock);
        log.step(new TrainerLog.Step(1, 0.1, 3, 1, 1e-5, TOKENS));
        String saved = log.save();
        output.append(TrainerLog.LOG, "{\"current_steps\": 1, \"tot".getBytes(StandardCharsets.UTF_8));

        TrainerLog.resume(output, run(1), clock, saved);

        assertThat(output.readText(TrainerLog.LOG).lines()).hasSize(1);
    }

    @Test
    void anEarlierRunsLogIsNotContinued() {
        TrainerLog log = TrainerLog.begin(output, run(1), clock);
        log.step(new TrainerLog.Step(1, 0.1, 3, 1, 1e-5, TOKENS));
        log.save();

        TrainerLog.begin(output, run(1), clock);

        assertThat(output.has(TrainerLog.LOG)).isFalse();
    }

    @Test
    void notANumberIsWrittenAsPythonDoes() {
        TrainerLog log = TrainerLog.begin(output, run(1), clock);
        log.step(new TrainerLog.Step(1, 0.1, Double.NaN, Double.POSITIVE_INFINITY, 1e-5, TOKENS));

        String saved = log.save();

        assertThat(saved).contains("\"loss\": NaN").contains("\"grad_norm\": Infinity");
        TrainerLog.resume(output, run(1), clock, saved);
        assertThat(output.readText(TrainerLog.LOG)).contains("\"loss\": NaN");
    }

    @Test
    void linesReachTheFileWithinTenSeconds() {
        TrainerLog log = TrainerLog.begin(output, run(1), clock);
        log.step(new TrainerLog.Step(1, 0.1, 3, 1, 1e-5, TOKENS));
        assertThat(output.has(TrainerLog.LOG)).isFalse();

        clock.move(10);
        log.step(new TrainerLog.Step(2, 0.1, 3, 1, 1e-5, TOKENS));

        assertThat(output.readText(TrainerLog.LOG).lines()).hasSize(2);
    }

    @Test
    void refusesADamagedState() {
        assertThatThrownBy(() -> TrainerLog.resume(output, run(1), clock, "{\"log_history\": ["))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("a trainer state is damaged");
    }

    @ParameterizedTest
    @CsvSource({"59.9,0:00:59", "3600,1:00:00", "86399,23:59:59", "90061,'1 day, 1:01:01'", "172800,'2 days, 0:00:00'"})
    void timesLookAsPythonPrintsThem(double seconds, String text) {
        assertThat(TrainerJson.time(seconds)).isEqualTo(text);
    }

    @ParameterizedTest
    @CsvSource({"2.675,2,2.67", "0.125,2,0.12", "0.375,2,0.38", "12.5,0,12"})
    void roundsAsPythonDoes(double value, int digits, double rounded) {
        assertThat(TrainerJson.round(value, digits)).isEqualTo(rounded);
    }
}
