package ulysses.runtime.optimizer;

import java.util.Map;
import ulysses.runtime.config.StepConfig;

/**
 * Learning rate of each optimizer step, as transformers' {@code get_scheduler} gives it: step 0 is the first one, and a warm-up
 * starts at rate 0, or at the lowest rate of warmup_stable_decay.
 */
@FunctionalInterface
public interface LearningRateSchedule {

    /** Rate of the step that has {@code step} steps before it. */
    double at(long step);

    /** The schedule that {@code config} names, over {@code totalSteps}. */
    static LearningRateSchedule of(StepConfig config, long totalSteps) {
        long warmup =
                config.warmupSteps() > 0 ? config.warmupSteps() : (long) Math.ceil(config.warmupRatio() * totalSteps);
        LearningRateSchedule factor = factor(config, warmup, totalSteps);
        boolean warms = !config.schedule().equals("constant");
        double first = config.schedule().equals("warmup_stable_decay") ? floor(config.scheduleArguments()) : 0;
        return step -> config.learningRate()
                * (warms && step < warmup
                        ? (double) step / Math.max(1, warmup) * (1 - first) + first
                        : factor.at(step));
    }

    private static double floor(Map<String, Double> arguments) {
        return arguments.getOrDefault("min_lr_ratio", 0.0);
    }

    private static LearningRateSchedule factor(StepConfig config, long warmup, long total) {
        Map<String, Double> arguments = config.scheduleArguments();
        return switch (config.schedule()) {
            case "constant", "constant_with_warmup" -> step -> 1;
            case "linear" -> step -> Math.max(0, (double) (total - step) / Math.max(1, total - warmup));
            case "cosine" -> step -> cosine(progress(step, warmup, total), arguments.getOrDefault("num_cycles", 0.5));
            case "cosine_with_min_lr" -> cosineWithFloor(config, warmup, total);
            case "polynomial" -> polynomial(config, warmup, total);
            case "inverse_sqrt" -> {
                double timescale = arguments.getOrDefault("timescale", warmup > 0 ? (double) warmup : 10_000.0);
                yield step -> 1 / Math.sqrt((step + timescale - warmup) / timescale);
            }
            case "warmup_stable_decay" -> warmupStableDecay(arguments, warmup, total);
            default -> throw new IllegalArgumentException("lr_scheduler_type " + config.schedule() + " is not known");
        };
    }

    private static double progress(long step, long warmup, long total) {
        return (double) (step - warmup) / Math.max(1, total - warmup);
    }

    private static double cosine(double progress, double cycles) {
        return Math.max(0, 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * progress)));
    }

    private static LearningRateSchedule cosineWithFloor(StepConfig config, long warmup, long total) {
        Map<String, Double> arguments = config.scheduleArguments();
        double cycles = arguments.getOrDefault("num_cycles", 0.5);
        double floor = arguments.containsKey("min_lr")
                ? arguments.getOrDefault("min_lr", 0.0) / config.learningRate()
                : arguments.getOrDefault("min_lr_rate", 0.0);
        return step -> {
            double wave = 0.5 * (1 + Math.cos(Math.PI * cycles * 2 * progress(step, warmup, total)));
            return Math.max(0, wave * (1 - floor) + floor);
        };
    }

    private static LearningRateSchedule polynomial(StepConfig config, long warmup, long total) {
        double end = config.scheduleArguments().getOrDefault("lr_end", 1e-7);
        double power = config.scheduleArguments().getOrDefault("power", 1.0);
        double start = config.learningRate();
        return step -> {
            if (step > total) {
                return end / start;
            }
            double remaining = 1 - progress(step, warmup, total);
            return ((start - end) * Math.pow(remaining, power) + end) / start;
        };
    }

    /** Without arguments a third of the steps after warm-up is stable and the rest decays, as LLaMA-Factory fills them in. */
    private static LearningRateSchedule warmupStableDecay(Map<String, Double> arguments, long warmup, long total) {
        long afterWarmup = total - warmup;
        long decay = arguments.containsKey("num_decay_steps")
                ? arguments.getOrDefault("num_decay_steps", 0.0).longValue()
                : afterWarmup
                        - arguments
                                .getOrDefault("num_stable_steps", Math.floor(afterWarmup / 3.0))
                                .longValue();
        long stable = arguments
                .getOrDefault("num_stable_steps", (double) (afterWarmup - decay))
                .longValue();
        double floor = floor(arguments);
        double cycles = arguments.getOrDefault("num_cycles", 0.5);
        return step -> {
            if (step < warmup + stable) {
                return 1;
            } else if (step >= warmup + stable + decay) {
                return floor;
            }
            double progress = (double) (step - warmup - stable) / Math.max(1, decay);
            return (1 - floor) * cosine(progress, cycles) + floor;
        };
    }
}
