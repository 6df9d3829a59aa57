package ulysses.runtime.config;

import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import ulysses.runtime.config.TrainingConfig.Tracker;

/** {@code report_to}: which services a run is reported to, and what is said about those that can't be. */
final class ReportRules {
    /** The others that transformers knows: all speak through Python packages of their own. */
    private static final Set<String> PYTHON_ONLY = Set.of(
            "azure_ml",
            "clearml",
            "codecarbon",
            "comet_ml",
            "dagshub",
            "dvclive",
            "flyte",
            "kubeflow",
            "neptune",
            "swanlab",
            "trackio",
            "wandb");

    private final Settings settings;
    private final List<String> problems;
    private final List<String> notes;

    ReportRules(Settings settings, List<String> problems, List<String> notes) {
        this.settings = settings;
        this.problems = problems;
        this.notes = notes;
    }

    void check() {
        if (settings.isGiven("status_host") && !settings.isGiven("status_port")) {
            notes.add("status_host has no effect without status_port");
        }
        if (!settings.sound("report_to")) {
            return;
        }
        List<String> words = words(settings);
        for (String word : words) {
            if (PYTHON_ONLY.contains(word)) {
                notes.add(("report_to %s is left out: it can only be reached from Python. Use tensorboard or mlflow; "
                                + "trainer_log.jsonl and report.html in output_dir are written anyway")
                        .formatted(word));
            } else if (!List.of("none", "all", "tensorboard", "mlflow").contains(word)) {
                problems.add(settings.problem(
                        "report_to", "names %s, which is no service; use none, tensorboard or mlflow".formatted(word)));
            }
        }
        if (words.contains("all")) {
            notes.add("report_to all is taken as tensorboard: mlflow is reported to when it is named");
        }
        if (words.contains("none") && words.size() > 1) {
            problems.add(settings.problem("report_to", "names none and others; keep one or the other"));
        }
        boolean tensorBoard = words.contains("all") || words.contains("tensorboard");
        if (settings.isGiven("logging_dir") && !tensorBoard) {
            notes.add("logging_dir has no effect without report_to: tensorboard");
        }
    }

    /** What {@code report_to} names and can be reached. */
    static List<Tracker> trackers(Settings settings) {
        List<String> words = words(settings);
        List<Tracker> trackers = new ArrayList<>();
        if (words.contains("all") || words.contains("tensorboard")) {
            trackers.add(Tracker.TENSORBOARD);
        }
        if (words.contains("mlflow")) {
            trackers.add(Tracker.MLFLOW);
        }
        return trackers;
    }

    private static List<String> words(Settings settings) {
        return settings.list("report_to").stream()
                .map(word -> word.toLowerCase(Locale.ROOT))
                .toList();
    }
}
