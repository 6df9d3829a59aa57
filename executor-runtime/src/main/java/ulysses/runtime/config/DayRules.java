package ulysses.runtime.config;

import com.fasterxml.jackson.databind.node.TextNode;
import java.time.LocalDate;
import java.time.ZoneOffset;
import java.time.format.DateTimeParseException;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** {@code date}: the day of a run that is scheduled for every day; {@code {date}} in any value stands for it. */
final class DayRules {
    private static final String KEY = "date";
    private static final String YESTERDAY = "yesterday";
    private static final List<String> FOLDERS = List.of("output_dir", "checkpoint_dir", "prepared_dir");

    private final Optional<Setting> given;
    private final String outputDir;

    private DayRules(Optional<Setting> given, String outputDir) {
        this.given = given;
        this.outputDir = outputDir;
    }

    /** Puts the date where {@code merged} has its name, if it has a date. */
    static DayRules of(Map<String, Setting> merged) {
        Setting output = merged.get("output_dir");
        DayRules day = new DayRules(
                Optional.ofNullable(merged.get(KEY))
                        .filter(setting -> setting.value().isTextual()),
                output == null ? "" : output.value().asText());
        day.date().ifPresent(date -> {
            merged.replaceAll((key, setting) -> dated(setting, date));
            merged.computeIfPresent(
                    KEY, (key, setting) -> new Setting(setting.typed(), TextNode.valueOf(date), setting.origin()));
        });
        return day;
    }

    private static Setting dated(Setting setting, String date) {
        String text = setting.value().asText();
        return setting.value().isTextual() && text.contains(TrainingConfig.Day.NAME)
                ? new Setting(
                        setting.typed(),
                        TextNode.valueOf(text.replace(TrainingConfig.Day.NAME, date)),
                        setting.origin())
                : setting;
    }

    private Optional<String> date() {
        try {
            return given.map(setting -> day(setting.value().asText()).toString());
        } catch (DateTimeParseException e) {
            return Optional.empty();
        }
    }

    private static LocalDate day(String text) {
        return text.equals(YESTERDAY) ? LocalDate.now(ZoneOffset.UTC).minusDays(1) : LocalDate.parse(text);
    }

    /** {@code output_dir} as it was given, with the name of the date in it. */
    String outputDir() {
        return outputDir;
    }

    void check(Settings settings, List<String> problems) {
        if (given.isPresent() && date().isEmpty()) {
            problems.add(given.get().problem("is no date; write it as 2026-11-26, or yesterday"));
            return;
        }
        if (given.isPresent() && settings.sound("create_new_adapter") && settings.flag("create_new_adapter")) {
            problems.add(
                    settings.problem(
                            "create_new_adapter",
                            "would lose the adapters of all days but the last; leave it out, so that every day trains the same adapter"));
        }
        for (String key : FOLDERS) {
            settings.given(key)
                    .filter(folder -> folder.value().isTextual())
                    .ifPresent(folder -> check(folder, problems));
        }
    }

    private void check(Setting folder, List<String> problems) {
        String text =
                folder.key().equals("output_dir") ? outputDir : folder.value().asText();
        String name = TrainingConfig.Day.NAME;
        if (given.isEmpty() && text.contains(name)) {
            problems.add(folder.problem("names %s, but no date is given; add --date 2026-11-26".formatted(name)));
        } else if (given.isPresent() && !text.contains(name) && !text.contains(date().orElseThrow())) {
            problems.add(folder.problem(
                    "has no %s, though a date is given; give every day a folder of its own, such as models/%s"
                            .formatted(name, name)));
        } else if (given.isPresent() && folder.key().equals("output_dir") && !text.contains(name)) {
            problems.add(folder.problem(
                    "has no %s, so earlier days are not found; write %s in place of the date".formatted(name, name)));
        }
    }
}
