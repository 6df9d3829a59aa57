package ulysses.runtime.optimizer;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.File;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.HashMap;
import java.util.Map;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import ulysses.runtime.config.StepConfig;

/** Against the rates that transformers' {@code get_scheduler} gave. */
final class LearningRateScheduleTest {

    private static final JsonNode RECORDED = recorded();

    static Stream<String> schedules() {
        Iterable<String> names = () -> RECORDED.get("schedules").fieldNames();
        return StreamSupport.stream(names.spliterator(), false);
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("schedules")
    void givesEveryRateOfTransformers(String name) {
        JsonNode entry = RECORDED.get("schedules").get(name);
        Map<String, Double> arguments = new HashMap<>();
        entry.get("lr_scheduler_kwargs")
                .properties()
                .forEach(argument ->
                        arguments.put(argument.getKey(), argument.getValue().asDouble()));
        LearningRateSchedule schedule = LearningRateSchedule.of(
                config(
                        entry.get("lr_scheduler_type").asText(),
                        RECORDED.get("learning_rate").asDouble(),
                        arguments,
                        0,
                        RECORDED.get("warmup_steps").asInt()),
                RECORDED.get("total_steps").asLong());

        JsonNode rates = entry.get("lr");
        assertThat(rates.size()).isGreaterThanOrEqualTo(100);
        for (int step = 0; step < rates.size(); step++) {
            double expected = rates.get(step).asDouble();
            assertThat(Math.abs(schedule.at(step) - expected))
                    .as("step %d: %s instead of %s", step, schedule.at(step), expected)
                    .isLessThanOrEqualTo(1e-12 * Math.abs(expected));
        }
    }

    @Test
    void warmupStepsWinOverTheRatio() {
        LearningRateSchedule byRatio = LearningRateSchedule.of(config("linear", 1, Map.of(), 0.1, 0), 95);
        LearningRateSchedule bySteps = LearningRateSchedule.of(config("linear", 1, Map.of(), 0.1, 4), 95);

        assertThat(byRatio.at(9)).isEqualTo(0.9); // ceil(9.5) = 10 steps of warm-up
        assertThat(byRatio.at(10)).isEqualTo(1);
        assertThat(bySteps.at(2)).isEqualTo(0.5);
        assertThat(bySteps.at(4)).isEqualTo(1);
    }

    @Test
    void constantHasNoWarmup() {
        assertThat(LearningRateSchedule.of(config("constant", 3, Map.of(), 0, 10), 100)
                        .at(0))
                .isEqualTo(3);
    }

    @Test
    void refusesAScheduleThatItDoesNotKnow() {
        assertThatThrownBy(() -> LearningRateSchedule.of(config("sawtooth", 1, Map.of(), 0, 0), 10))
                .hasMessage("lr_scheduler_type sawtooth is not known");
    }

    private static StepConfig config(
            String schedule, double rate, Map<String, Double> arguments, double warmupRatio, int warmupSteps) {
        return new StepConfig(
                1, 1, rate, 1, -1, schedule, arguments, warmupRatio, warmupSteps, 0, 0.9, 0.999, 1e-8, 1, 42, 42, true);
    }

    private static JsonNode recorded() {
        try {
            return new ObjectMapper().readTree(new File("src/test/resources/reference/cases/schedules.json"));
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
