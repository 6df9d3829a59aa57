package ulysses.runtime.training;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TuningConfig;

/**
 * What a log says about the run as a whole.
 *
 * @param totalSteps optimizer steps of the run
 * @param epochs passes over the data
 * @param loggingSteps {@code logging_steps}
 * @param evalSteps {@code eval_steps}
 * @param saveSteps {@code save_steps}
 * @param rowsPerRank {@code per_device_train_batch_size}
 * @param parameters all but the embedding, as transformers counts for {@code total_flos}
 * @param perplexity whether results hold perplexity, as they do in pretraining
 */
public record TrainerRun(
        long totalSteps,
        double epochs,
        int loggingSteps,
        int evalSteps,
        int saveSteps,
        int rowsPerRank,
        long parameters,
        boolean perplexity) {
    public TrainerRun {
        if (loggingSteps < 1) {
            throw new IllegalArgumentException("logging_steps is %d; it must be 1 or more".formatted(loggingSteps));
        }
    }

    /** The run that {@code config} describes. */
    public static TrainerRun of(TrainingConfig config, long totalSteps, long nonEmbeddingParameters) {
        return new TrainerRun(
                totalSteps,
                config.step().epochs(),
                config.output().loggingSteps(),
                config.evaluation().steps(),
                config.output().saveSteps(),
                config.step().rowsPerRank(),
                nonEmbeddingParameters,
                config.tuning().stage() == TuningConfig.Stage.PT);
    }

    /** transformers' {@code total_flos}: 6 a token and parameter. */
    double operations(long tokens) {
        return 6.0 * tokens * parameters;
    }

    /** {@code trainer_state.json} as transformers' TrainerState has it, without the history. */
    ObjectNode state(TrainerProgress progress) {
        ObjectNode state = JsonNodeFactory.instance.objectNode();
        state.putNull("best_global_step");
        state.putNull("best_metric");
        state.putNull("best_model_checkpoint");
        state.put("epoch", progress.epoch());
        state.put("eval_steps", evalSteps);
        state.put("global_step", progress.step());
        state.put("is_hyper_param_search", false);
        state.put("is_local_process_zero", true);
        state.put("is_world_process_zero", true);
        state.put("logging_steps", loggingSteps);
        state.put("max_steps", totalSteps);
        state.put("num_input_tokens_seen", progress.tokens());
        state.put("num_train_epochs", (long) Math.ceil(epochs));
        state.put("save_steps", saveSteps);
        state.put("total_flos", operations(progress.tokens()));
        state.put("train_batch_size", rowsPerRank);
        state.putNull("trial_name");
        state.putNull("trial_params");
        return state;
    }
}
