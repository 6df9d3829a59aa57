package ulysses.driver.report;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Clock;
import java.time.Instant;
import java.time.ZoneOffset;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import ulysses.driver.packing.PreparedData;
import ulysses.runtime.config.ConfigFile;
import ulysses.runtime.mesh.RankEvent;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.Folder;

/** A folder as a run of two ranks leaves it, made without running anything. */
final class ReportedRun {
    static final Clock CLOCK = Clock.fixed(Instant.parse("2026-01-02T03:04:05Z"), ZoneOffset.UTC);
    static final Configuration HADOOP = new Configuration(false);

    private final Path folder;
    final Folder output;

    ReportedRun(Path folder) {
        this.folder = folder;
        this.output = Folder.at(folder.resolve("out").toString(), HADOOP);
    }

    /** Reads the configuration with {@code more} lines and writes what the run was told. */
    ConfigFile.Loaded told(String more) throws IOException {
        Path model = Files.createDirectories(folder.resolve("model"));
        Path yaml = folder.resolve("train.yaml");
        Files.writeString(yaml, """
                model_name_or_path: %s
                dataset: identity,alpaca_en_demo
                output_dir: %s
                %s
                %s
                """.formatted(
                        model, output.path(), more.contains("finetuning_type") ? "" : "finetuning_type: full", more));
        ConfigFile.Loaded loaded = ConfigFile.load(ConfigFile.Sources.ofFile(yaml.toString()), HADOOP);
        arguments(loaded).write(output);
        return loaded;
    }

    RunArguments arguments(ConfigFile.Loaded loaded) {
        PreparedData data =
                new PreparedData(folder.resolve("rows/train").toString(), List.of(), Optional.empty(), false);
        return RunArguments.of("2026-01-02T03:04:05Z", new RankMesh(2, 2), data, loaded);
    }

    RunJournal journal() {
        return RunJournal.resume(output, 1, CLOCK);
    }

    RunRecord read() {
        return RunRecord.read(output, HADOOP);
    }

    static RankEvent.Step step(long step, double loss) {
        return new RankEvent.Step(0, step, 4, step / 4.0, loss, 1.5, 1e-4, 1000, 0.5, step << 30);
    }

    static RankEvent.Logged logged(long step, double loss) {
        return new RankEvent.Logged(
                0, step, Map.of("loss", loss, "grad_norm", 1.5, "learning_rate", 1e-4, "epoch", step / 4.0));
    }

    /** What rank 0 says of the steps from {@code first} to {@code last}. */
    static void train(RunJournal journal, long first, long last) {
        journal.accept(new RankEvent.Phase(0, "load", 0));
        for (long step = first; step <= last; step++) {
            journal.accept(new RankEvent.Phase(0, "step", step));
            journal.accept(step(step, 5.0 - step));
            journal.accept(
                    new RankEvent.Measured(0, step, 0.3, 0.1, 0.1, 1 << 20, Map.of("attention", 0.1), 0.05, 1e12));
            journal.accept(logged(step, 5.0 - step));
        }
    }

    /** Copies the files that LLaMA-Factory wrote for a reference case. */
    void recorded(String name) throws IOException {
        for (String file : List.of("trainer_state.json", "trainer_log.jsonl", "all_results.json")) {
            output.write(
                    file,
                    Files.readString(Path.of("src", "test", "resources", "report", name, file))
                            .getBytes(StandardCharsets.UTF_8));
        }
    }

    static JsonNode json(String text) throws IOException {
        return new ObjectMapper().readTree(text);
    }
}
