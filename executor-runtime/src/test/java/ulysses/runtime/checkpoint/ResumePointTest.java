package ulysses.runtime.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import ulysses.runtime.config.ConfigException;
import ulysses.runtime.config.TrainingConfig.Output;
import ulysses.runtime.config.TrainingConfig.Reporting;
import ulysses.runtime.config.TrainingConfig.SaveStrategy;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.StorageException;

final class ResumePointTest {
    private static final String RUN = "this run";
    private static final String EARLIER = "earlier run";

    @TempDir
    private Path temporary;

    private final Configuration hadoop = new Configuration(false);
    private final List<String> warnings = new ArrayList<>();
    private Folder root;
    private ModelDirectory model;
    private CheckpointStore store;

    @BeforeEach
    void open() {
        Folder folder = Folder.at(temporary.toString(), hadoop);
        root = folder.folder("out");
        model = CheckpointRun.model(folder.folder("model"));
        store = new CheckpointStore(root);
    }

    @Test
    void goesOnFromTheNewestWholeOneAndRemovesWhatLiesAfterIt() {
        save(EARLIER, 5);
        damage(save(EARLIER, 10));

        assertThat(step(prepare(1, output(false, null)))).hasValue(5L);

        assertThat(warnings).singleElement().asString().startsWith("checkpoint-10 is passed over:");
        assertThat(store.completeSteps()).containsExactly(5L);
    }

    @Test
    void removesNothingWhenOneCantBeRead() {
        save(EARLIER, 5);
        ofNewerProgram(save(EARLIER, 10));

        assertThatThrownBy(() -> prepare(1, output(false, null)))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("checkpoint-10 can't be read but may be whole");

        assertThat(store.completeSteps()).containsExactly(10L, 5L);
    }

    @Test
    void removesNothingWhenNoneIsWhole() {
        damage(save(RUN, 5));
        damage(save(RUN, 10));

        for (int attempt = 1; attempt <= 2; attempt++) {
            int now = attempt;
            assertThatThrownBy(() -> prepare(now, output(false, null)))
                    .isInstanceOf(StorageException.class)
                    .hasMessageContaining("is whole, and none was removed; restore one")
                    .hasMessageContaining("checkpoint-5 is passed over");
        }
        assertThatThrownBy(() -> prepare(2, output(true, null))).hasMessageContaining("none was removed");

        assertThat(store.completeSteps()).containsExactly(10L, 5L);
    }

    @Test
    void overwritingRemovesWhatEarlierRunsLeft() {
        save(EARLIER, 5);
        damage(save(EARLIER, 10));

        assertThat(prepare(1, output(true, null))).isEmpty();

        assertThat(root.list()).extracting(Folder.Entry::name).containsExactly("LATEST");
    }

    @Test
    void turningResumingOffReplacesNothingUnlessToldTo() {
        save(EARLIER, 5);
        save(EARLIER, 10);

        assertThatThrownBy(() -> prepare(1, output(false, Output.NEVER_RESUME)))
                .isInstanceOf(ConfigException.class)
                .hasMessageContaining("resume_from_checkpoint false begins anew, but ")
                .hasMessageContaining(
                        "out/checkpoint-10 is there and would be removed; set overwrite_output_dir: true");
        assertThat(store.completeSteps()).containsExactly(10L, 5L);

        assertThat(prepare(1, output(true, Output.NEVER_RESUME))).isEmpty();
        assertThat(store.completeSteps()).isEmpty();
        assertThat(prepare(1, output(false, Output.NEVER_RESUME))).isEmpty();
    }

    @Test
    void doesNotGoOnFromAModelAlone() {
        save(RUN, 5);
        CheckpointRun.saveModel(root, model, RUN, 10);

        for (int attempt = 1; attempt <= 2; attempt++) {
            int now = attempt;
            assertThatThrownBy(() -> prepare(now, output(false, null)))
                    .isInstanceOf(ConfigException.class)
                    .hasMessageContaining("checkpoint-10 holds the model alone (save_only_model true)")
                    .hasMessageContaining("to begin anew set overwrite_output_dir: true");
        }

        assertThat(store.completeSteps()).containsExactly(10L, 5L);
    }

    @Test
    void laterAttemptsGoOnFromTheirOwnRun() {
        save(RUN, 5);
        save(EARLIER, 10);

        assertThat(step(prepare(2, output(true, null)))).hasValue(5L);

        assertThat(store.completeSteps()).containsExactly(5L);
    }

    private Optional<Checkpoint> prepare(int attempt, Output output) {
        ResumeTerms terms = new ResumeTerms(Optional.of("data"), "config");
        return new ResumePoint(output, attempt, RUN, store, hadoop).prepare(terms, warnings);
    }

    private static Optional<Long> step(Optional<Checkpoint> checkpoint) {
        return checkpoint.map(found -> found.state().step());
    }

    private Checkpoint save(String run, long step) {
        return CheckpointRun.save(root, model, run, 1, step, 1);
    }

    private static void damage(Checkpoint checkpoint) {
        String name = checkpoint.manifest().files().get(0).name();
        byte[] bytes = checkpoint.folder().read(name);
        bytes[bytes.length / 2] ^= 1;
        checkpoint.folder().write(name, bytes);
    }

    private static void ofNewerProgram(Checkpoint checkpoint) {
        String json = checkpoint.folder().readText(CheckpointManifest.FILE);
        checkpoint
                .folder()
                .write(
                        CheckpointManifest.FILE,
                        json.replace("\"version\" : 2", "\"version\" : 99").getBytes(StandardCharsets.UTF_8));
    }

    private Output output(boolean overwrite, @Nullable String resume) {
        return new Output(
                root.path(),
                overwrite,
                1,
                SaveStrategy.STEPS,
                1,
                0,
                false,
                resume,
                null,
                false,
                1,
                Reporting.NONE,
                null);
    }
}
