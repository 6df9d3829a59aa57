package ulysses.runtime.config;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.NullNode;
import com.fasterxml.jackson.databind.node.TextNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.config.ConfigFile.KeyReport;
import ulysses.runtime.config.ConfigFile.Sources;
import ulysses.runtime.config.ConfigFile.Verdict;

/** One reading of all sources, layer by layer: what was given, what is wrong with it, and what the user should know. */
final class ConfigReading {
    private final Settings settings = new Settings();
    private final List<String> problems = new ArrayList<>();
    private final List<String> notes = new ArrayList<>();
    private final List<KeyReport> reports = new ArrayList<>();

    private ConfigReading() {}

    /** @throws ConfigException if the file can't be read as a mapping at all */
    static ConfigReading of(Sources sources, Configuration hadoop) {
        ConfigReading reading = new ConfigReading();
        Map<String, Setting> merged = new LinkedHashMap<>();
        for (Setting setting : ConfigDocument.read(sources.file(), ConfigText.read(sources.file(), hadoop))) {
            reading.merge(merged, setting);
        }
        sources.sparkConf().forEach((key, value) -> {
            String name = key.startsWith(Setting.SPARK_PREFIX) ? key.substring(Setting.SPARK_PREFIX.length()) : ".";
            if (!name.contains(".")) {
                reading.merge(merged, reading.override(key, value, "Spark configuration"));
            }
        });
        sources.commandLine()
                .forEach((key, value) -> reading.merge(merged, reading.override(key, value, "command line")));
        DayRules day = DayRules.of(merged);
        reading.settings.runsFor(day.outputDir());
        merged.values().forEach(reading::accept);
        reading.addDeepSpeed(hadoop);
        if (ExportConfig.isDescribedBy(reading.settings)) {
            reading.problems.addAll(ExportConfig.problems(reading.settings));
        } else {
            new ConfigRules(reading.settings, reading.problems, reading.notes).check();
            day.check(reading.settings, reading.problems);
        }
        return reading;
    }

    Settings settings() {
        return settings;
    }

    List<String> problems() {
        return problems;
    }

    List<String> notes() {
        return notes;
    }

    List<KeyReport> reports() {
        return reports;
    }

    private void merge(Map<String, Setting> merged, Setting setting) {
        Setting before = merged.put(setting.key(), setting);
        if (before != null && before.source().equals(setting.source())) {
            problems.add("%s and %s are the same key; keep one (%s)"
                    .formatted(before.typed(), setting.typed(), setting.origin()));
        }
    }

    /** Command lines and Spark hold text only: the key decides whether it is a list or mapping. */
    private Setting override(String typed, String text, String origin) {
        Setting plain = new Setting(typed, TextNode.valueOf(text), origin);
        Optional<ConfigKey> key = KeyTable.table().find(plain.key());
        boolean isText = key.isPresent() && key.get().type() == ConfigKey.Type.TEXT;
        if (text.equals("null") || text.equals("~") || (text.isEmpty() && !isText)) {
            return new Setting(typed, NullNode.getInstance(), origin);
        }
        if (!isText && (text.startsWith("{") || text.startsWith("["))) {
            try {
                return new Setting(typed, ConfigDocument.value(typed, text), origin);
            } catch (ConfigException malformed) {
                problems.addAll(malformed.problems());
            }
        }
        return plain;
    }

    /** Takes a value in, or says what is wrong with it; remembers the answer for check-config. */
    private void accept(Setting setting) {
        Optional<ConfigKey> found = KeyTable.table().find(setting.key());
        if (found.isEmpty()) {
            String advice = KeyTable.table()
                    .nearest(setting.key())
                    .map(near -> "did you mean " + near + "?")
                    .orElse("remove it, or see conf/README.md for all keys");
            problems.add(setting.problem("is set, but there is no such key; " + advice));
            reports.add(new KeyReport(
                    setting.typed(), setting.shown(), Verdict.UNKNOWN, "there is no such key; " + advice));
            return;
        }
        ConfigKey key = found.get();
        Setting shown =
                key.secret() ? new Setting(setting.typed(), TextNode.valueOf("***"), setting.origin()) : setting;
        Optional<String> complaint = key.complaint(setting.value());
        if (complaint.isPresent()) {
            problems.add(shown.problem(complaint.get()));
            settings.breakKey(setting.key());
            reports.add(new KeyReport(shown.typed(), shown.shown(), Verdict.REFUSED, complaint.get()));
            return;
        }
        settings.put(setting);
        report(key, shown, key.changesNothing(setting.value()));
    }

    private void report(ConfigKey key, Setting shown, boolean changesNothing) {
        switch (key.answer()) {
            case SUPPORTED -> reports.add(new KeyReport(shown.typed(), shown.shown(), Verdict.SUPPORTED, key.says()));
            case REFUSED ->
                reports.add(
                        new KeyReport(shown.typed(), shown.shown(), Verdict.IGNORED, "this value asks for nothing"));
            case IGNORED -> {
                reports.add(new KeyReport(shown.typed(), shown.shown(), Verdict.IGNORED, String.valueOf(key.why())));
                if (!changesNothing) {
                    notes.add("%s %s is ignored: %s".formatted(shown.typed(), shown.shown(), key.why()));
                }
            }
        }
    }

    private void addDeepSpeed(Configuration hadoop) {
        Optional<Setting> setting = settings.given("deepspeed")
                .filter(given -> !given.value().isNull() && !given.shown().equals("''"));
        if (setting.isEmpty()) {
            return;
        }
        try {
            DeepSpeedConfig deepSpeed = DeepSpeedConfig.of(deepSpeedContent(setting.get(), hadoop), problems);
            notes.addAll(deepSpeed.notes());
            deepSpeed.settings().forEach(this::acceptDeepSpeed);
            deepSpeed.globalBatch().ifPresent(this::checkGlobalBatch);
        } catch (ConfigException unreadable) {
            problems.addAll(unreadable.problems());
            settings.breakKey("deepspeed");
        }
    }

    private static List<Setting> deepSpeedContent(Setting deepSpeed, Configuration hadoop) {
        JsonNode value = deepSpeed.value();
        if (!value.isObject()) {
            return ConfigDocument.readJson(value.asText(), ConfigText.read(value.asText(), hadoop));
        }
        List<Setting> content = new ArrayList<>();
        value.properties()
                .forEach(entry -> content.add(new Setting(entry.getKey(), entry.getValue(), deepSpeed.origin())));
        return content;
    }

    private void acceptDeepSpeed(Setting theirs) {
        String name = DeepSpeedConfig.ourKey(theirs);
        ConfigKey key = KeyTable.table().get(name);
        Optional<String> complaint = key.complaint(theirs.value());
        if (complaint.isPresent()) {
            problems.add(theirs.problem(complaint.get()));
            settings.breakKey(name);
            return;
        }
        Optional<Setting> ours = settings.given(name);
        if (ours.isEmpty()) {
            settings.put(new Setting(name, theirs.value(), theirs.origin()));
        } else if (!key.means(ours.get().value(), theirs.value())) {
            problems.add(theirs.problem(
                    "contradicts %s %s (%s); write the same value in both, or \"auto\" in the DeepSpeed JSON"
                            .formatted(
                                    ours.get().typed(),
                                    ours.get().shown(),
                                    ours.get().origin())));
        }
    }

    /** DeepSpeed's rule: global batch = micro-batch x accumulation x data-parallel ranks. */
    private void checkGlobalBatch(Setting given) {
        int ranks = settings.integer("num_ranks");
        int rows = settings.integer("per_device_train_batch_size") * settings.integer("gradient_accumulation_steps");
        Optional<Integer> batch = ScalarText.integer(given.value().asText());
        int groups = Math.max(ranks / ConfigSections.groupSize(settings), 1);
        if (batch.isEmpty() || batch.get() % rows != 0 || (ranks > 0 && batch.get() != rows * groups)) {
            String expected = ranks > 0 ? String.valueOf(rows * groups) : "a multiple of " + rows;
            problems.add(given.problem(
                    ("is not per_device_train_batch_size x gradient_accumulation_steps x data-parallel groups; "
                                    + "write %s or \"auto\"")
                            .formatted(expected)));
        }
    }
}
