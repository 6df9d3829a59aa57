package ulysses.runtime.config;

import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** The keys that say what is learnt and which parameters are trained: their rules, and the record they become. */
final class TuningSettings {
    private static final List<String> LORA_KEYS = List.of(
            "lora_rank",
            "lora_alpha",
            "lora_dropout",
            "lora_target",
            "additional_target",
            "use_rslora",
            "loraplus_lr_ratio",
            "create_new_adapter");
    private static final List<String> FREEZE_KEYS =
            List.of("freeze_trainable_layers", "freeze_trainable_modules", "freeze_extra_modules");

    private final Settings settings;

    TuningSettings(Settings settings) {
        this.settings = settings;
    }

    /** What must hold between these keys; a rule keeps quiet when one of its keys already has a problem. */
    void check(List<String> problems, List<String> notes) {
        if (!settings.sound("finetuning_type")) {
            return;
        }
        String type = settings.choice("finetuning_type");
        if (!type.equals("lora")) {
            if (settings.isGiven("adapter_name_or_path")) {
                problems.add(settings.problem(
                        "adapter_name_or_path",
                        "works only with finetuning_type lora, but finetuning_type is %s; remove it".formatted(type)));
            }
            withoutEffect(LORA_KEYS, type, notes);
        }
        if (!type.equals("freeze")) {
            withoutEffect(FREEZE_KEYS, type, notes);
        }
        if (type.equals("lora")
                && settings.sound("lora_target")
                && settings.list("lora_target").isEmpty()) {
            problems.add(settings.problem("lora_target", "names no module; write all, or names such as q_proj,v_proj"));
        }
        if (type.equals("lora") && settings.sound("train_from_scratch") && settings.flag("train_from_scratch")) {
            problems.add(settings.problem(
                    "train_from_scratch",
                    "would train an adapter of random weights that are saved nowhere; use finetuning_type: full"));
        }
    }

    private void withoutEffect(List<String> keys, String type, List<String> notes) {
        keys.stream()
                .map(settings::given)
                .flatMap(Optional::stream)
                .filter(setting -> !KeyTable.table().get(setting.key()).changesNothing(setting.value()))
                .forEach(setting -> notes.add("%s %s has no effect with finetuning_type %s"
                        .formatted(setting.typed(), setting.shown(), type)));
    }

    /** The record. */
    TuningConfig config(WorkingDirectory working) {
        TuningConfig.Stage stage =
                TuningConfig.Stage.valueOf(settings.choice("stage").toUpperCase(Locale.ROOT));
        TuningConfig.Lora lora = lora(stage, working);
        TuningConfig.Freeze freeze = new TuningConfig.Freeze(
                stage,
                settings.integer("freeze_trainable_layers"),
                settings.list("freeze_trainable_modules"),
                settings.list("freeze_extra_modules"));
        return switch (settings.choice("finetuning_type")) {
            case "lora" -> lora;
            case "freeze" -> freeze;
            default -> new TuningConfig.Full(stage);
        };
    }

    private TuningConfig.Lora lora(TuningConfig.Stage stage, WorkingDirectory working) {
        int rank = settings.integer("lora_rank");
        return new TuningConfig.Lora(
                stage,
                rank,
                settings.optionalInteger("lora_alpha").orElse(2 * rank),
                settings.number("lora_dropout"),
                settings.list("lora_target"),
                settings.list("additional_target"),
                settings.flag("use_rslora"),
                settings.optionalNumber("loraplus_lr_ratio").orElse(1.0),
                settings.list("adapter_name_or_path").stream()
                        .map(working::absoluteIfThere)
                        .toList(),
                settings.flag("create_new_adapter"));
    }
}
