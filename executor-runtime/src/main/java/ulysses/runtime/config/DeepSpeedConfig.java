package ulysses.runtime.config;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * What a DeepSpeed JSON says, as settings of our keys. {@code "auto"} leaves a value to the YAML. DeepSpeed's own machinery
 * (bucket sizes, streams, logging) has no meaning here and changes no number.
 *
 * @param globalBatch {@code train_batch_size}, if it is a number
 * @param settings the values that have a key of ours
 * @param notes what the user should know
 */
record DeepSpeedConfig(Optional<Setting> globalBatch, List<Setting> settings, List<String> notes) {
    /** DeepSpeed's name to ours. */
    private static final String STAGE = "zero_optimization.stage";

    private static final String OFFLOAD = "zero_optimization.offload_optimizer";

    private static final String ACTIVATIONS = "activation_checkpointing.cpu_checkpointing";

    private static final Map<String, String> KEYS = Map.of(
            "train_micro_batch_size_per_gpu",
            "per_device_train_batch_size",
            "gradient_accumulation_steps",
            "gradient_accumulation_steps",
            "gradient_clipping",
            "max_grad_norm",
            "sequence_parallel_size",
            "sequence_parallel_size",
            "bf16",
            "bf16",
            "fp16",
            "fp16",
            STAGE,
            "zero_stage",
            OFFLOAD,
            "offload_optimizer",
            ACTIVATIONS,
            "offload_activations");

    /** Keys that change speed, memory or logs of DeepSpeed, never a number of ours. */
    private static final Set<String> WITHOUT_MEANING = Set.of(
            "aio",
            "comms_logger",
            "communication_data_type",
            "csv_monitor",
            "data_types",
            "dump_state",
            "flash_attention",
            "flops_profiler",
            "memory_breakdown",
            "monitor_config",
            "prescale_gradients",
            "steps_per_print",
            "tensorboard",
            "wall_clock_breakdown",
            "wandb",
            "zero_allow_untested_optimizer",
            "zero_force_ds_cpu_optimizer");

    /** Keys that would change the training and are said in the YAML here. */
    private static final Map<String, String> REFUSED = Map.of(
            "optimizer", "remove it and use learning_rate, weight_decay and the adam_ keys",
            "scheduler", "remove it and use lr_scheduler_type and warmup_ratio");

    DeepSpeedConfig {
        settings = List.copyOf(settings);
        notes = List.copyOf(notes);
    }

    /** Sorts what a DeepSpeed JSON holds; what can't be used goes to problems. */
    static DeepSpeedConfig of(List<Setting> content, List<String> problems) {
        List<Setting> settings = new ArrayList<>();
        List<String> notes = new ArrayList<>();
        Optional<Setting> globalBatch = Optional.empty();
        for (Setting setting : content) {
            String name = setting.typed();
            if (KEYS.containsKey(name)) {
                value(setting).ifPresent(settings::add);
            } else if (name.equals("zero_optimization")) {
                stage(setting, problems).ifPresent(settings::add);
                offload(setting).ifPresent(settings::add);
                noteOffloadedWeights(setting, notes);
            } else if (name.equals("activation_checkpointing")) {
                activations(setting).ifPresent(settings::add);
            } else if (name.equals("train_batch_size")) {
                globalBatch = value(setting);
            } else if (REFUSED.containsKey(name)) {
                problems.add(setting.problem("is not supported; " + REFUSED.get(name)));
            } else if (!WITHOUT_MEANING.contains(name)) {
                problems.add(setting.problem("is no key that Ulysses on Spark knows; remove it"));
            }
        }
        return new DeepSpeedConfig(globalBatch, settings, notes);
    }

    /** The key of ours that a DeepSpeed key stands for. */
    static String ourKey(Setting setting) {
        return KEYS.getOrDefault(setting.typed(), setting.key());
    }

    /** The value, of {@code bf16} and {@code fp16} its {@code enabled}; empty for "auto". */
    private static Optional<Setting> value(Setting setting) {
        JsonNode value = setting.value().isObject() ? setting.value().path("enabled") : setting.value();
        boolean left = value.isMissingNode() || value.asText().equals("auto");
        return left ? Optional.empty() : Optional.of(new Setting(setting.typed(), value, setting.origin()));
    }

    /** DeepSpeed's default is stage 0. */
    private static Optional<Setting> stage(Setting zero, List<String> problems) {
        JsonNode stage = zero.value().path("stage");
        if (stage.isMissingNode()) {
            return Optional.empty();
        }
        if (ScalarText.integer(stage.asText()).filter(n -> n >= 0 && n <= 3).isEmpty()) {
            problems.add("%s %s is not 0, 1, 2 or 3; write one of them (%s)"
                    .formatted(STAGE, Setting.shown(stage), zero.origin()));
            return Optional.empty();
        }
        return Optional.of(new Setting(STAGE, stage, zero.origin()));
    }

    private static Optional<Setting> offload(Setting zero) {
        return device(zero, "offload_optimizer").isEmpty()
                ? Optional.empty()
                : Optional.of(new Setting(OFFLOAD, TextNode.valueOf("true"), zero.origin()));
    }

    /** The other keys below change memory and speed of DeepSpeed alone. */
    private static Optional<Setting> activations(Setting checkpointing) {
        return checkpointing.value().path("cpu_checkpointing").asBoolean(false)
                ? Optional.of(new Setting(ACTIVATIONS, TextNode.valueOf("true"), checkpointing.origin()))
                : Optional.empty();
    }

    private static void noteOffloadedWeights(Setting zero, List<String> notes) {
        device(zero, "offload_param")
                .ifPresent(target -> notes.add(
                        "zero_optimization.offload_param to %s: weights stay on the device; stage 3 cuts them over all ranks"
                                .formatted(target)));
    }

    private static Optional<String> device(Setting zero, String part) {
        return Optional.of(zero.value().path(part).path("device").asText("none"))
                .filter(device -> !device.equals("none"));
    }
}
