package ulysses.runtime.training;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Map;
import java.util.TreeMap;

/**
 * What a log has counted; a checkpoint keeps it, so that a resumed run logs the same numbers as one that was not interrupted.
 *
 * @param step optimizer steps done
 * @param epoch passes over the data done
 * @param tokens tokens seen
 * @param lossSum sum of all steps' losses
 * @param lossSinceLog sum of losses since the last logged step
 * @param stepsSinceLog steps since then
 * @param metricSums sums of what was measured beside the loss since then, by name
 * @param termsSinceLog what they are sums over
 * @param seconds since the run began, interruptions left out
 */
record TrainerProgress(
        long step,
        double epoch,
        long tokens,
        double lossSum,
        double lossSinceLog,
        long stepsSinceLog,
        Map<String, Double> metricSums,
        long termsSinceLog,
        double seconds) {
    static final TrainerProgress NONE = new TrainerProgress(0, 0, 0, 0, 0, 0, Map.of(), 0, 0);

    /** transformers lets callbacks keep numbers here, and reads the file although it doesn't know this one. */
    private static final String KEEPER = "UlyssesTrainerLog";

    TrainerProgress {
        metricSums = Map.copyOf(metricSums);
    }

    TrainerProgress after(TrainerLog.Step next) {
        Map<String, Double> sums = new TreeMap<>(metricSums);
        next.metrics().forEach((name, mean) -> sums.merge(name, mean * next.terms(), Double::sum));
        return new TrainerProgress(
                next.step(),
                next.epoch(),
                tokens + next.tokens(),
                lossSum + next.loss(),
                lossSinceLog + next.loss(),
                stepsSinceLog + 1,
                sums,
                termsSinceLog + next.terms(),
                seconds);
    }

    TrainerProgress logged() {
        return new TrainerProgress(step, epoch, tokens, lossSum, 0, 0, Map.of(), 0, seconds);
    }

    TrainerProgress at(double now) {
        return new TrainerProgress(
                step, epoch, tokens, lossSum, lossSinceLog, stepsSinceLog, metricSums, termsSinceLog, now);
    }

    double meanSinceLog() {
        return lossSinceLog / stepsSinceLog;
    }

    /** Means of what was measured beside the loss since the last log. */
    Map<String, Double> metricsSinceLog() {
        Map<String, Double> means = new TreeMap<>();
        metricSums.forEach((name, sum) -> means.put(name, sum / Math.max(1, termsSinceLog)));
        return means;
    }

    double meanLoss() {
        return step == 0 ? 0 : lossSum / step;
    }

    void write(ObjectNode state) {
        ObjectNode callbacks = state.putObject("stateful_callbacks");
        ObjectNode control = callbacks.putObject("TrainerControl");
        control.putObject("args")
                .put("should_epoch_stop", false)
                .put("should_evaluate", false)
                .put("should_log", false)
                .put("should_save", false)
                .put("should_training_stop", false);
        control.putObject("attributes");
        ObjectNode keeper = callbacks.putObject(KEEPER);
        keeper.putObject("args");
        ObjectNode attributes = keeper.putObject("attributes");
        attributes
                .put("loss_sum", lossSum)
                .put("loss_since_log", lossSinceLog)
                .put("steps_since_log", stepsSinceLog)
                .put("terms_since_log", termsSinceLog)
                .put("seconds", seconds);
        ObjectNode sums = attributes.putObject("metric_sums");
        metricSums.forEach(sums::put);
    }

    static TrainerProgress read(JsonNode state) {
        JsonNode kept = state.path("stateful_callbacks").path(KEEPER).path("attributes");
        Map<String, Double> sums = new TreeMap<>();
        kept.path("metric_sums")
                .properties()
                .forEach(sum -> sums.put(sum.getKey(), sum.getValue().asDouble()));
        return new TrainerProgress(
                state.path("global_step").asLong(),
                state.path("epoch").asDouble(),
                state.path("num_input_tokens_seen").asLong(),
                kept.path("loss_sum").asDouble(),
                kept.path("loss_since_log").asDouble(),
                kept.path("steps_since_log").asLong(),
                sums,
                kept.path("terms_since_log").asLong(),
                kept.path("seconds").asDouble());
    }
}
