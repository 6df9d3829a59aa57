package ulysses.runtime.training;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * What a log has counted; a checkpoint keeps it, so that a resumed run logs the same numbers as one that was not interrupted.
 *
 * @param step optimizer steps done
 * @param epoch passes over the data done
 * @param tokens tokens seen
 * @param lossSum sum of all steps' losses
 * @param lossSinceLog sum of losses since the last logged step
 * @param stepsSinceLog steps since then
 * @param seconds since the run began, interruptions left out
 */
record TrainerProgress(
        long step, double epoch, long tokens, double lossSum, double lossSinceLog, long stepsSinceLog, double seconds) {
    static final TrainerProgress NONE = new TrainerProgress(0, 0, 0, 0, 0, 0, 0);

    /** transformers lets callbacks keep numbers here, and reads the file although it doesn't know this one. */
    private static final String KEEPER = "UlyssesTrainerLog";

    TrainerProgress after(TrainerLog.Step next) {
        return new TrainerProgress(
                next.step(),
                next.epoch(),
                tokens + next.tokens(),
                lossSum + next.loss(),
                lossSinceLog + next.loss(),
                stepsSinceLog + 1,
                seconds);
    }

    TrainerProgress logged() {
        return new TrainerProgress(step, epoch, tokens, lossSum, 0, 0, seconds);
    }

    TrainerProgress at(double now) {
        return new TrainerProgress(step, epoch, tokens, lossSum, lossSinceLog, stepsSinceLog, now);
    }

    double meanSinceLog() {
        return lossSinceLog / stepsSinceLog;
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
        keeper.putObject("attributes")
                .put("loss_sum", lossSum)
                .put("loss_since_log", lossSinceLog)
                .put("steps_since_log", stepsSinceLog)
                .put("seconds", seconds);
    }

    static TrainerProgress read(JsonNode state) {
        JsonNode kept = state.path("stateful_callbacks").path(KEEPER).path("attributes");
        return new TrainerProgress(
                state.path("global_step").asLong(),
                state.path("epoch").asDouble(),
                state.path("num_input_tokens_seen").asLong(),
                kept.path("loss_sum").asDouble(),
                kept.path("loss_since_log").asDouble(),
                kept.path("steps_since_log").asLong(),
                kept.path("seconds").asDouble());
    }
}
