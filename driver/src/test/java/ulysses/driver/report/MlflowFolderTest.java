package ulysses.driver.report;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.driver.launch.LaunchException;
import ulysses.runtime.mesh.RankEvent;

/**
 * The files of MLflow's file store. Its main method leaves a run in the folder that is named, to be read with MLflow itself
 * (README.md of this module).
 */
final class MlflowFolderTest {

    @TempDir
    private Path folder;

    public static void main(String[] arguments) {
        run(MlflowTracking.of(Map.of("MLFLOW_TRACKING_URI", arguments[0], "MLFLOW_EXPERIMENT_NAME", "long texts")));
    }

    private static MlflowRun run(MlflowTracking tracking) {
        MlflowRun run = MlflowRun.begin(
                tracking,
                "first: run",
                Map.of("learning_rate", "1e-4"),
                Map.of("output_dir", "out"),
                ReportedRun.CLOCK);
        run.accept(new RankEvent.Logged(0, 2, Map.of("loss", 3.5)));
        run.accept(new RankEvent.Logged(0, 4, Map.of("loss", 3.25)));
        run.accept(new RankEvent.Logged(0, 4, Map.of("rewards/margins", 0.25)));
        run.end(RunRecord.Ending.DONE);
        return run;
    }

    @Test
    void aRunIsAFolderOfParametersMetricsAndTags() throws IOException {
        MlflowTracking tracking = MlflowTracking.of(
                Map.of("MLFLOW_TRACKING_URI", folder.toUri().toString(), "MLFLOW_EXPERIMENT_NAME", "long texts"));

        MlflowRun run = run(tracking);

        Path experiment = folder.resolve(tracking.experimentId());
        assertThat(meta(experiment).path("name").asText()).isEqualTo("long texts");
        Path files = experiment.resolve(run.id());
        long time = ReportedRun.CLOCK.millis();
        assertThat(files.resolve("params/learning_rate")).hasContent("1e-4");
        assertThat(files.resolve("metrics/loss")).hasContent("%d 3.5 2\n%d 3.25 4\n".formatted(time, time));
        assertThat(files.resolve("metrics/rewards/margins")).hasContent("%d 0.25 4\n".formatted(time));
        assertThat(files.resolve("tags/output_dir")).hasContent("out");
        assertThat(files.resolve("artifacts")).isEmptyDirectory();
        JsonNode meta = meta(files);
        assertThat(meta.path("run_name").asText()).isEqualTo("first: run");
        assertThat(meta.path("experiment_id").isTextual()).isTrue();
        assertThat(meta.path("status").asInt()).isEqualTo(3);
        assertThat(meta.path("end_time").asLong()).isEqualTo(time);
    }

    @Test
    void runsOfOneExperimentLieTogether() throws IOException {
        Map<String, String> environment =
                Map.of("MLFLOW_TRACKING_URI", folder.resolve("runs").toString());

        MlflowRun first = run(MlflowTracking.of(environment));
        MlflowRun second = run(MlflowTracking.of(environment));

        try (Stream<Path> runs = Files.list(folder.resolve("runs/0")).filter(Files::isDirectory)) {
            assertThat(runs.map(path -> path.getFileName().toString()))
                    .containsExactlyInAnyOrderElementsOf(List.of(first.id(), second.id()));
        }
    }

    @Test
    void aFolderThatCantBeUsedIsSaid() throws IOException {
        Path file = Files.writeString(folder.resolve("file"), "");

        MlflowTracking tracking = MlflowTracking.of(Map.of("MLFLOW_TRACKING_URI", file.toString()));

        assertThatThrownBy(tracking::experimentId)
                .isInstanceOf(LaunchException.class)
                .hasMessageStartingWith("MLflow's folder %s can't be used: ".formatted(file));
    }

    private static JsonNode meta(Path of) throws IOException {
        return new YAMLMapper().readTree(of.resolve("meta.yaml").toFile());
    }
}
