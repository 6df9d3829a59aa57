package ulysses.runtime.config;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;

/** What must hold between the keys of the learning-rate schedule. */
final class ScheduleRules {
    /** Arguments of each schedule in transformers' get_scheduler, all numbers. */
    private static final Map<String, Set<String>> SCHEDULE_ARGUMENTS = Map.of(
            "linear", Set.of(),
            "constant", Set.of(),
            "constant_with_warmup", Set.of(),
            "cosine", Set.of("num_cycles"),
            "cosine_with_min_lr", Set.of("num_cycles", "min_lr", "min_lr_rate"),
            "polynomial", Set.of("lr_end", "power"),
            "inverse_sqrt", Set.of("timescale"),
            "warmup_stable_decay", Set.of("num_stable_steps", "num_decay_steps", "min_lr_ratio", "num_cycles"));

    private final Settings settings;
    private final List<String> problems;
    private final List<String> notes;

    ScheduleRules(Settings settings, List<String> problems, List<String> notes) {
        this.settings = settings;
        this.problems = problems;
        this.notes = notes;
    }

    void check() {
        if (!settings.sound("lr_scheduler_type", "lr_scheduler_kwargs")) {
            return;
        }
        String schedule = settings.choice("lr_scheduler_type");
        Set<String> known = Objects.requireNonNull(SCHEDULE_ARGUMENTS.get(schedule), schedule);
        Map<String, String> arguments = arguments(settings, problems);
        List<String> wrong = new ArrayList<>(arguments.keySet());
        wrong.removeAll(known);
        if (!wrong.isEmpty()) {
            String takes = known.isEmpty()
                    ? "takes no arguments"
                    : "takes " + String.join(", ", known.stream().sorted().toList());
            problem(
                    "lr_scheduler_kwargs",
                    "holds %s, but lr_scheduler_type %s %s; remove it"
                            .formatted(String.join(", ", wrong), schedule, takes));
        }
        arguments.forEach((name, value) -> {
            if (known.contains(name) && ScalarText.number(value).isEmpty()) {
                problem("lr_scheduler_kwargs", "holds %s %s, which is not a number; write one".formatted(name, value));
            }
        });
        boolean bounded = arguments.containsKey("min_lr") ^ arguments.containsKey("min_lr_rate");
        if (schedule.equals("cosine_with_min_lr") && !bounded) {
            problem(
                    "lr_scheduler_type",
                    "needs exactly one of min_lr and min_lr_rate; write lr_scheduler_kwargs: {min_lr_rate: 0.1}");
        }
        warmup();
    }

    private void warmup() {
        if (!settings.sound("warmup_steps", "warmup_ratio")) {
            return;
        }
        double steps = settings.number("warmup_steps");
        if (steps > 1 && steps != Math.rint(steps)) {
            problem("warmup_steps", "is neither a whole number nor a fraction below 1; write one of them");
        }
        if (steps > 0 && settings.optionalNumber("warmup_ratio").isPresent()) {
            notes.add(
                    "warmup_ratio %s is used, and warmup_steps %s is not, as in transformers 5; leave warmup_ratio out to use the steps"
                            .formatted(
                                    settings.text("warmup_ratio").orElseThrow(),
                                    settings.text("warmup_steps").orElseThrow()));
        }
    }

    /** {@code lr_scheduler_kwargs}: a mapping, or a JSON text of one; null values say nothing. */
    static Map<String, String> arguments(Settings settings, List<String> problems) {
        Map<String, String> arguments = new LinkedHashMap<>();
        Optional<Setting> setting = settings.given("lr_scheduler_kwargs")
                .filter(given -> !given.value().isNull());
        if (setting.isEmpty()) {
            return arguments;
        }
        JsonNode mapping = setting.get().value();
        if (mapping.isTextual() && mapping.asText().strip().startsWith("{")) {
            try {
                mapping = ConfigDocument.value("lr_scheduler_kwargs", mapping.asText());
            } catch (ConfigException malformed) {
                problems.addAll(malformed.problems());
                return arguments;
            }
        }
        if (!mapping.isObject()) {
            problems.add(setting.get().problem("is no mapping; write one, such as {min_lr_rate: 0.1}"));
            return arguments;
        }
        mapping.properties().forEach(entry -> {
            if (!entry.getValue().isNull()) {
                arguments.put(entry.getKey(), Setting.shown(entry.getValue()));
            }
        });
        return arguments;
    }

    private void problem(String key, String whatIsWrong) {
        problems.add(settings.problem(key, whatIsWrong));
    }
}
