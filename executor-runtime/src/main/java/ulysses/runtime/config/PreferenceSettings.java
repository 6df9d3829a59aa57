package ulysses.runtime.config;

import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** The keys of preference training: what must hold between them, and the record they become. */
final class PreferenceSettings {
    private static final List<String> KEYS = List.of(
            "pref_loss",
            "pref_beta",
            "pref_ftx",
            "dpo_label_smoothing",
            "simpo_gamma",
            "ld_alpha",
            "ref_model",
            "precompute_ref_logps");

    private static final List<String> KEYS_OF_A_REFERENCE = List.of("ref_model", "precompute_ref_logps");

    private final Settings settings;

    PreferenceSettings(Settings settings) {
        this.settings = settings;
    }

    /** A rule keeps quiet when one of its keys already has a problem. */
    void check(List<String> problems, List<String> notes) {
        if (!settings.sound("stage") || !settings.sound(KEYS.toArray(String[]::new))) {
            return;
        }
        if (!settings.choice("stage").equals("dpo")) {
            withoutEffect(KEYS, "stage " + settings.choice("stage"), notes);
            return;
        }
        if (settings.sound("lora_dropout", "finetuning_type")
                && settings.choice("finetuning_type").equals("lora")) {
            withoutEffect(
                    List.of("lora_dropout"), "stage dpo: policy and reference are compared without dropout", notes);
        }
        String loss = settings.choice("pref_loss");
        if (settings.number("dpo_label_smoothing") > 0 && !loss.equals("sigmoid")) {
            problems.add(settings.problem(
                    "dpo_label_smoothing",
                    "works only with pref_loss sigmoid, but pref_loss is %s; remove it".formatted(loss)));
        }
        if (!loss.equals("simpo")) {
            withoutEffect(List.of("simpo_gamma"), "pref_loss " + loss, notes);
        }
        if (!loss().comparesWithReference()) {
            withoutEffect(KEYS_OF_A_REFERENCE, "pref_loss " + loss + ", which needs no reference", notes);
        }
    }

    private void withoutEffect(List<String> keys, String with, List<String> notes) {
        keys.stream()
                .map(settings::given)
                .flatMap(Optional::stream)
                .filter(setting -> !KeyTable.table().get(setting.key()).changesNothing(setting.value()))
                .forEach(setting ->
                        notes.add("%s %s has no effect with %s".formatted(setting.typed(), setting.shown(), with)));
    }

    private PreferenceConfig.Loss loss() {
        return PreferenceConfig.Loss.valueOf(settings.choice("pref_loss").toUpperCase(Locale.ROOT));
    }

    /** The record; without a reference for losses that need none. */
    PreferenceConfig config(WorkingDirectory working) {
        boolean compares = loss().comparesWithReference();
        Optional<String> refModel = settings.text("ref_model").map(working::absoluteIfThere);
        boolean precomputed = settings.flag("precompute_ref_logps");
        return new PreferenceConfig(
                loss(),
                settings.number("pref_beta"),
                settings.number("pref_ftx"),
                settings.number("dpo_label_smoothing"),
                settings.number("simpo_gamma"),
                settings.optionalNumber("ld_alpha").orElse(null),
                compares ? refModel.orElse(null) : null,
                compares && precomputed);
    }
}
