package ulysses.runtime.config;

import java.util.Map;

/**
 * One optimizer step and the schedule of all of them.
 *
 * @param rowsPerRank {@code per_device_train_batch_size}: rows of one micro-batch of a sequence-parallel group
 * @param accumulation {@code gradient_accumulation_steps}: micro-batches a step
 * @param learningRate {@code learning_rate}, after {@code --adjust-lr}
 * @param epochs {@code num_train_epochs}
 * @param maxSteps {@code max_steps}; -1 means by epochs
 * @param schedule {@code lr_scheduler_type}, as Hugging Face spells it
 * @param scheduleArguments {@code lr_scheduler_kwargs}
 * @param warmupRatio {@code warmup_ratio}
 * @param warmupSteps {@code warmup_steps}; 0 where the ratio counts
 * @param weightDecay {@code weight_decay}
 * @param beta1 {@code adam_beta1}
 * @param beta2 {@code adam_beta2}
 * @param epsilon {@code adam_epsilon}
 * @param maxGradNorm {@code max_grad_norm}; 0 means no clipping
 * @param seed {@code seed}
 * @param dataSeed {@code data_seed}; equals seed when not given
 * @param shuffle the opposite of {@code disable_shuffling}
 * @param strategies {@code gradient_strategies} and their thresholds
 */
public record StepConfig(
        int rowsPerRank,
        int accumulation,
        double learningRate,
        double epochs,
        int maxSteps,
        String schedule,
        Map<String, Double> scheduleArguments,
        double warmupRatio,
        int warmupSteps,
        double weightDecay,
        double beta1,
        double beta2,
        double epsilon,
        double maxGradNorm,
        long seed,
        long dataSeed,
        boolean shuffle,
        StrategyConfig strategies) {
    public StepConfig {
        scheduleArguments = Map.copyOf(scheduleArguments);
    }

    /** The same with another number of micro-batches a step. */
    public StepConfig withAccumulation(int other) {
        return new StepConfig(
                rowsPerRank,
                other,
                learningRate,
                epochs,
                maxSteps,
                schedule,
                scheduleArguments,
                warmupRatio,
                warmupSteps,
                weightDecay,
                beta1,
                beta2,
                epsilon,
                maxGradNorm,
                seed,
                dataSeed,
                shuffle,
                strategies);
    }

    /** Without gradient strategies. */
    public StepConfig(
            int rowsPerRank,
            int accumulation,
            double learningRate,
            double epochs,
            int maxSteps,
            String schedule,
            Map<String, Double> scheduleArguments,
            double warmupRatio,
            int warmupSteps,
            double weightDecay,
            double beta1,
            double beta2,
            double epsilon,
            double maxGradNorm,
            long seed,
            long dataSeed,
            boolean shuffle) {
        this(
                rowsPerRank,
                accumulation,
                learningRate,
                epochs,
                maxSteps,
                schedule,
                scheduleArguments,
                warmupRatio,
                warmupSteps,
                weightDecay,
                beta1,
                beta2,
                epsilon,
                maxGradNorm,
                seed,
                dataSeed,
                shuffle,
                StrategyConfig.NONE);
    }
}
