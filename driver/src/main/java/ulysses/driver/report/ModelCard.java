package ulysses.driver.report;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.dataformat.yaml.YAMLGenerator;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.stream.Collectors;
import ulysses.driver.dataset.PythonJson;
import ulysses.runtime.config.StepConfig;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TuningConfig;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.HubCacheFolder;

/**
 * {@code README.md} of a trained model: the card that the Hugging Face hub shows, with the front matter, hyperparameters and table
 * of results that LLaMA-Factory's runs have.
 */
final class ModelCard {
    static final String FILE = "README.md";

    /** Stands in every card of ours, so that one that a person wrote is told apart. */
    static final String MARK = "<!-- written by Ulysses on Spark";

    private static final String UNKNOWN = "More information needed";
    private static final int ROWS = 12;

    private static final YAMLMapper YAML = YAMLMapper.builder()
            .disable(YAMLGenerator.Feature.WRITE_DOC_START_MARKER)
            .enable(YAMLGenerator.Feature.MINIMIZE_QUOTES)
            .disable(YAMLGenerator.Feature.SPLIT_LINES)
            .build();

    private final RunRecord run;
    private final RunArguments arguments;
    private final TrainingConfig config;
    private final String license;

    private ModelCard(RunRecord run, RunArguments arguments, TrainingConfig config, String license) {
        this.run = run;
        this.arguments = arguments;
        this.config = config;
        this.license = license;
    }

    /**
     * The card of a run.
     *
     * @param base folder of the model that training started from: its own card may tell the license
     */
    static String text(RunRecord run, RunArguments arguments, TrainingConfig config, Folder base) {
        return new ModelCard(run, arguments, config, license(base)).text();
    }

    /** The license in the front matter of the base model's card; LLaMA-Factory's {@code other} where it is not known. */
    private static String license(Folder base) {
        if (!base.has(FILE)) {
            return "other";
        }
        List<String> lines = base.readText(FILE).lines().toList();
        if (lines.isEmpty() || !lines.get(0).strip().equals("---")) {
            return "other";
        }
        return lines.stream()
                .skip(1)
                .takeWhile(line -> !line.strip().equals("---"))
                .filter(line -> line.matches("license:\\s*[\\w.-]+\\s*"))
                .map(line -> line.substring("license:".length()).strip())
                .findFirst()
                .orElse("other");
    }

    private String text() {
        StringBuilder card = new StringBuilder();
        card.append("---\n").append(frontMatter()).append("---\n\n");
        card.append(MARK).append(" from the files of the run; complete it, then take this line out. -->\n\n");
        card.append("# ").append(name()).append("\n\n").append(origin()).append(results());
        card.append("\n## Model description\n\n").append(UNKNOWN).append('\n');
        card.append("\n## Intended uses & limitations\n\n").append(UNKNOWN).append('\n');
        card.append("\n## Training and evaluation data\n\n").append(data());
        card.append("\n## Training procedure\n\n### Training hyperparameters\n\n");
        card.append("The following hyperparameters were used during training:\n");
        hyperparameters()
                .forEach((key, value) ->
                        card.append("- ").append(key).append(": ").append(value).append('\n'));
        card.append("\n### Training results\n\n").append(table(trainingResults()));
        card.append("\n### Framework versions\n\n");
        Versions.all().forEach((name, version) -> card.append("- %s %s%n".formatted(name, version)));
        return card.toString();
    }

    private String name() {
        String folder = config.output().outputDir().replaceAll("/+$", "");
        return folder.substring(folder.lastIndexOf('/') + 1);
    }

    private String base() {
        return RunArguments.masked(HubCacheFolder.idOf(config.model().modelNameOrPath()));
    }

    /** full, lora, freeze. */
    private String tuning() {
        return arguments.config().path("tuning").path("finetuning_type").asText("full");
    }

    private boolean isAdapter() {
        return tuning().equals("lora");
    }

    private String frontMatter() {
        Map<String, Object> fields = new LinkedHashMap<>();
        fields.put("library_name", isAdapter() ? "peft" : "transformers");
        fields.put("license", license);
        if (!config.model().trainFromScratch()) {
            fields.put("base_model", base());
        }
        List<String> tags = new ArrayList<>(List.of("llama-factory", tuning()));
        if (preference()) {
            tags.add("dpo");
        }
        tags.addAll(List.of("generated_from_trainer", "ulysses-on-spark"));
        fields.put("tags", tags);
        if (!config.data().dataset().isEmpty()) {
            fields.put("datasets", config.data().dataset());
        }
        fields.put("pipeline_tag", "text-generation");
        fields.put("model-index", List.of(Map.of("name", name(), "results", List.of())));
        try {
            return YAML.writeValueAsString(fields);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("a mapping of texts can't be written as YAML", e);
        }
    }

    private boolean preference() {
        return config.tuning().stage() != TuningConfig.Stage.PT
                && config.tuning().stage() != TuningConfig.Stage.SFT;
    }

    private String origin() {
        List<String> names =
                config.data().dataset().stream().map(name -> "the " + name).toList();
        String data = names.isEmpty()
                ? "tokenized data."
                : names.size() == 1
                        ? names.get(0) + " dataset."
                        : String.join(", ", names.subList(0, names.size() - 1)) + " and " + names.get(names.size() - 1)
                                + " datasets.";
        if (config.model().trainFromScratch()) {
            return "This model was trained from scratch on " + data + "\n";
        }
        boolean onHub = base().matches("[\\w.-]+/[\\w.-]+");
        String origin = onHub ? "[%s](https://huggingface.co/%s)".formatted(base(), base()) : "`" + base() + "`";
        return "This model is a fine-tuned version of %s on %s%n".formatted(origin, data);
    }

    private String results() {
        Map<String, Double> last = evaluations().isEmpty()
                ? Map.of()
                : evaluations().get(evaluations().size() - 1).values();
        Map<String, Double> shown = new LinkedHashMap<>(metrics(last));
        Map<String, Double> atTheEnd = new LinkedHashMap<>();
        run.results()
                .properties()
                .forEach(field -> atTheEnd.put(field.getKey(), field.getValue().asDouble()));
        shown.putAll(metrics(atTheEnd));
        if (shown.isEmpty()) {
            return "";
        }
        StringBuilder text = new StringBuilder("It achieves the following results on the evaluation set:\n");
        shown.forEach((name, value) ->
                text.append("- %s: %s%n".formatted(name.equals("Validation Loss") ? "Loss" : name, rounded(value))));
        return text.toString();
    }

    private String data() {
        return run.prepared()
                .map(report -> {
                    String text = "Training: " + report.train().summary() + ".\n";
                    return text
                            + report.eval().entrySet().stream()
                                    .map(set -> "%nEvaluation (%s): %s.%n"
                                            .formatted(
                                                    set.getKey(), set.getValue().summary()))
                                    .collect(Collectors.joining());
                })
                .orElse(UNKNOWN + "\n");
    }

    private Map<String, String> hyperparameters() {
        StepConfig step = config.step();
        int groups = arguments.mesh().dataParallelSize();
        Map<String, String> all = new LinkedHashMap<>();
        all.put("learning_rate", PythonJson.number(step.learningRate()));
        all.put("train_batch_size", String.valueOf(step.rowsPerRank()));
        all.put("eval_batch_size", String.valueOf(config.evaluation().rowsPerRank()));
        all.put("seed", String.valueOf(step.seed()));
        all.put("distributed_type", "sequence-parallel (Ulysses) x data-parallel");
        all.put("num_devices", String.valueOf(arguments.mesh().worldSize()));
        all.put("sequence_parallel_size", String.valueOf(arguments.mesh().sequenceParallelSize()));
        all.put("gradient_accumulation_steps", String.valueOf(step.accumulation()));
        all.put("total_train_batch_size", String.valueOf(step.rowsPerRank() * step.accumulation() * groups));
        all.put("total_eval_batch_size", String.valueOf(config.evaluation().rowsPerRank() * groups));
        all.put(
                "optimizer",
                "adamw_torch with betas=(%s,%s) and epsilon=%s"
                        .formatted(
                                PythonJson.number(step.beta1()),
                                PythonJson.number(step.beta2()),
                                PythonJson.number(step.epsilon())));
        all.put("lr_scheduler_type", step.schedule());
        if (step.warmupSteps() > 0) {
            all.put("lr_scheduler_warmup_steps", String.valueOf(step.warmupSteps()));
        } else if (step.warmupRatio() > 0) {
            all.put("lr_scheduler_warmup_ratio", PythonJson.number(step.warmupRatio()));
        }
        if (step.maxSteps() > 0) {
            all.put("training_steps", String.valueOf(step.maxSteps()));
        } else {
            all.put("num_epochs", PythonJson.number(step.epochs()));
        }
        if (config.model().computeType() == TrainingConfig.ComputeType.BFLOAT16) {
            all.put("mixed_precision_training", "bfloat16, float32 master weights");
        }
        return all;
    }

    /** What was evaluated after each step, all sets of it together. */
    private List<RunRecord.Entry> evaluations() {
        Map<Long, Map<String, Double>> steps = new TreeMap<>();
        run.history().stream()
                .filter(entry -> !metrics(entry.values()).isEmpty())
                .forEach(entry -> steps.computeIfAbsent(entry.step(), step -> new LinkedHashMap<>())
                        .putAll(entry.values()));
        return steps.entrySet().stream()
                .map(step -> new RunRecord.Entry(step.getKey(), step.getValue()))
                .toList();
    }

    /** Metrics of an evaluation by their names in the table; speeds are no results. */
    private static Map<String, Double> metrics(Map<String, Double> values) {
        Map<String, Double> metrics = new LinkedHashMap<>();
        values.forEach((key, value) -> {
            if (key.startsWith("eval_") && !key.matches("eval_.*(runtime|per_second)")) {
                String name = key.substring("eval_".length()).replace('_', ' ');
                metrics.put(
                        name.equals("loss")
                                ? "Validation Loss"
                                : name.substring(0, 1).toUpperCase(Locale.ROOT) + name.substring(1),
                        value);
            }
        });
        return metrics;
    }

    /** A row for each evaluation; without evaluations some of the logged steps. */
    private List<Map<String, String>> trainingResults() {
        List<RunRecord.Entry> evaluations = evaluations();
        List<RunRecord.Entry> logged = run.history().stream()
                .filter(entry -> entry.values().containsKey("loss"))
                .toList();
        if (!evaluations.isEmpty()) {
            return evaluations.stream().map(entry -> row(entry, logged)).toList();
        }
        int every = Math.max(1, (logged.size() + ROWS - 1) / ROWS);
        List<Map<String, String>> rows = new ArrayList<>();
        for (int i = logged.size() - 1; i >= 0; i -= every) {
            rows.add(0, row(logged.get(i), logged));
        }
        return rows;
    }

    private static Map<String, String> row(RunRecord.Entry entry, List<RunRecord.Entry> logged) {
        Optional<RunRecord.Entry> before =
                logged.stream().filter(other -> other.step() <= entry.step()).reduce((earlier, later) -> later);
        Map<String, String> row = new LinkedHashMap<>();
        row.put(
                "Training Loss",
                before.map(loss -> rounded(loss.values().getOrDefault("loss", Double.NaN)))
                        .orElse("No log"));
        row.put("Epoch", rounded(entry.values().getOrDefault("epoch", Double.NaN)));
        row.put("Step", String.valueOf(entry.step()));
        metrics(entry.values()).forEach((name, value) -> row.put(name, rounded(value)));
        return row;
    }

    private static String table(List<Map<String, String>> rows) {
        if (rows.isEmpty()) {
            return "Nothing was logged.\n";
        }
        List<String> columns =
                rows.stream().flatMap(row -> row.keySet().stream()).distinct().toList();
        StringBuilder table = new StringBuilder("| " + String.join(" | ", columns) + " |\n");
        table.append("|").append(":---:|".repeat(columns.size())).append('\n');
        for (Map<String, String> row : rows) {
            List<String> cells =
                    columns.stream().map(name -> row.getOrDefault(name, "")).toList();
            table.append("| ").append(String.join(" | ", cells)).append(" |\n");
        }
        return table.toString();
    }

    private static String rounded(double value) {
        return Double.isFinite(value) ? String.format(Locale.ROOT, "%.4f", value) : String.valueOf(value);
    }
}
