package ulysses.runtime.checkpoint;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;
import ulysses.runtime.checkpoint.Checkpoint.Check;
import ulysses.runtime.mesh.RankMesh;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.WeightIndex;
import ulysses.runtime.weights.WrittenFile;

final class CheckpointStoreTest {
    @TempDir
    private Path temporary;

    private Folder root;
    private ModelDirectory model;
    private CheckpointStore store;

    @BeforeEach
    void open() {
        Folder folder = Folder.at(temporary.toString(), new Configuration(false));
        root = folder.folder("out");
        model = CheckpointRun.model(folder.folder("model"));
        store = new CheckpointStore(root);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 7})
    void anyRangeReadsTheSameWhateverRanksWroteIt(int ranks) {
        Checkpoint saved = CheckpointRun.save(root, model, 1, 5, ranks);

        try (CheckpointReader reader = CheckpointReader.open(saved)) {
            List<ParameterSpec> parameters = model.spec().parameters();
            for (int p = 0; p < parameters.size(); p++) {
                long elements = parameters.get(p).elements();
                for (String state : List.of(StateTensor.MODEL, StateTensor.EXP_AVG, StateTensor.EXP_AVG_SQ)) {
                    assertThat(reader.elements(state, parameters.get(p).name())).isEqualTo(elements);
                    for (long first = 0; first < elements; first++) {
                        int count = (int) Math.min(5, elements - first);
                        ByteBuffer into = ByteBuffer.allocate(count * 4).order(ByteOrder.LITTLE_ENDIAN);
                        reader.read(state, parameters.get(p).name(), first, into);
                        for (int i = 0; i < count; i++) {
                            assertThat(into.getFloat(i * 4)).isEqualTo(CheckpointRun.value(5, p, first + i));
                        }
                    }
                }
            }
            assertThat(reader.states()).containsExactlyInAnyOrder("model", "exp_avg", "exp_avg_sq");
        }
    }

    @Test
    void aCheckpointFolderIsAModelFolder() {
        Checkpoint saved = CheckpointRun.save(root, model, 1, 5, 2);

        ModelDirectory directory = ModelDirectory.open(saved.folder());

        try (WeightIndex weights = directory.weights()) {
            assertThat(weights.names()).hasSize(model.spec().parameters().size());
        }
        assertThat(directory.configJson())
                .contains("\"torch_dtype\" : \"float32\"")
                .contains("\"custom_field\"")
                .contains("LlamaForCausalLM");
        assertThat(directory.companions()).containsExactly("tokenizer.json");
        assertThat(saved.folder().readText("trainer_state.json")).isEqualTo(saved.trainerStateJson());
        assertThat(root.readText("LATEST").strip()).endsWith("checkpoint-5");
    }

    @Test
    void theManifestComesBackAsItWas() {
        Checkpoint saved = CheckpointRun.save(root, model, 3, 5, 2);

        Checkpoint opened = store.newest(Check.CHECKSUMS).checkpoint().orElseThrow();

        assertThat(opened.manifest()).isEqualTo(saved.manifest());
        assertThat(opened.state()).isEqualTo(CheckpointRun.state(5));
        assertThat(opened.manifest().mesh()).isEqualTo(new RankMesh(2, 2));
        assertThat(opened.manifest().attempt()).isEqualTo(3);
    }

    /** Minutes of reading on slow storage must not look like a rank that hangs. */
    @Test
    void tellsOfEachBlockThatIsReadToBeChecked() {
        Checkpoint saved = CheckpointRun.save(root, model, 1, 5, 2);
        AtomicInteger blocks = new AtomicInteger();
        CheckpointStore watched = new CheckpointStore(root, blocks::incrementAndGet);

        watched.newest(Check.LENGTHS);
        assertThat(blocks).hasValue(0);
        watched.newest(Check.CHECKSUMS);
        assertThat(blocks).hasValue(saved.manifest().files().size()); // each is shorter than a block
        watched.open(saved.folder(), Check.CHECKSUMS);
        assertThat(blocks).hasValue(2 * saved.manifest().files().size());
    }

    @Test
    void laterAttemptsFindWhatTheirOwnRunWrote() {
        CheckpointRun.save(root, model, "another", 2, 30, 1);
        CheckpointRun.save(root, model, "mine", 1, 10, 1);
        CheckpointRun.save(root, model, "mine", 2, 20, 1);

        assertThat(store.newestOf("mine", Check.CHECKSUMS)
                        .checkpoint()
                        .map(found -> found.state().step()))
                .hasValue(20L);
        assertThat(store.newestOf("new", Check.CHECKSUMS).checkpoint()).isEmpty();
    }

    @Test
    void theNewestByNumberIsTaken() {
        CheckpointRun.save(root, model, 1, 9, 1);
        CheckpointRun.save(root, model, 1, 10, 1);
        CheckpointRun.save(root, model, 1, 100, 1);

        assertThat(store.completeSteps()).containsExactly(100L, 10L, 9L);
        assertThat(store.newest(Check.LENGTHS)
                        .checkpoint()
                        .orElseThrow()
                        .manifest()
                        .step())
                .isEqualTo(100);
    }

    @Test
    void anyDamageMakesTheOneBeforeBeTakenWithAWarning() {
        CheckpointRun.save(root, model, 1, 5, 2);
        Checkpoint newest = CheckpointRun.save(root, model, 1, 10, 2);
        Folder folder = newest.folder();
        List<String> names = new ArrayList<>(
                newest.manifest().files().stream().map(WrittenFile::name).toList());
        names.add(CheckpointManifest.FILE);
        assertThat(names).hasSize(6);

        for (String name : names) {
            byte[] good = folder.read(name);
            byte[] flipped = good.clone();
            flipped[good.length / 2] ^= 4;
            folder.write(name, flipped);
            assertThatTheOneBeforeIsTaken(name);
            folder.write(name, Arrays.copyOf(good, good.length - 2));
            assertThatTheOneBeforeIsTaken(name);
            folder.write(name, new byte[0]);
            assertThatTheOneBeforeIsTaken(name);
            if (!name.equals(CheckpointManifest.FILE)) {
                folder.delete(name);
                assertThatTheOneBeforeIsTaken(name);
            }
            folder.write(name, good);
        }
        assertThat(store.newest(Check.CHECKSUMS).checkpoint()).contains(newest);
    }

    private void assertThatTheOneBeforeIsTaken(String damagedFile) {
        CheckpointStore.Newest found = store.newest(Check.CHECKSUMS);
        assertThat(found.checkpoint().orElseThrow().manifest().step())
                .as(damagedFile)
                .isEqualTo(5);
        assertThat(found.warnings())
                .singleElement()
                .asString()
                .startsWith("checkpoint-10 is passed over:")
                .contains(damagedFile);
    }

    @Test
    void oneThatCantBeReadNowIsNotPassedOver() {
        CheckpointRun.save(root, model, 1, 5, 1);
        Folder newest = CheckpointRun.save(root, model, 1, 10, 1).folder();
        CheckpointStore unreachable = new CheckpointStore(new UnansweringFolder(root, "optimizer-rank00000"));
        String json = newest.readText(CheckpointManifest.FILE);

        assertThatThrownBy(() -> unreachable.newest(Check.CHECKSUMS))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("checkpoint-10 can't be read but may be whole")
                .hasMessageContaining("the file system does not answer");
        newest.write(
                CheckpointManifest.FILE,
                json.replace("\"version\" : 2", "\"version\" : 3").getBytes(StandardCharsets.UTF_8));
        assertThatThrownBy(() -> store.newest(Check.LENGTHS))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("checkpoint-10 can't be read but may be whole")
                .hasMessageContaining("has version 3 but this program reads up to 2; use a newer program");
    }

    @Test
    void withoutAnyGoodOneThereIsNone() {
        assertThat(store.newest(Check.CHECKSUMS)).isEqualTo(new CheckpointStore.Newest(Optional.empty(), List.of()));

        CheckpointRun.save(root, model, 1, 5, 1).folder().write(CheckpointManifest.FILE, new byte[0]);

        CheckpointStore.Newest found = store.newest(Check.CHECKSUMS);
        assertThat(found.checkpoint()).isEmpty();
        assertThat(found.warnings()).hasSize(1);
    }

    @ParameterizedTest
    @EnumSource
    void aNamedCheckpointThatIsIncompleteIsRefused(Check check) {
        Checkpoint saved = CheckpointRun.save(root, model, 1, 5, 1);
        assertThat(Checkpoint.open(saved.folder(), check)).isEqualTo(saved);

        saved.folder().delete(CheckpointManifest.FILE);

        assertThatThrownBy(() -> Checkpoint.open(saved.folder(), check))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining(
                        "checkpoint-5 holds no MANIFEST.json: it was not finished or another program made it");
    }

    @Test
    void manifestsOfOtherFormatsAndNewerVersionsAreToldApart() {
        Checkpoint saved = CheckpointRun.save(root, model, 1, 5, 1);
        String json = saved.folder().readText(CheckpointManifest.FILE);

        assertThatThrownBy(() -> CheckpointManifest.parse(json.replace("ulysses-checkpoint", "other"), "M"))
                .hasMessageContaining("M is no manifest of a checkpoint of this program");
        assertThatThrownBy(() -> CheckpointManifest.parse(json.replace("\"version\" : 2", "\"version\" : 3"), "M"))
                .hasMessageContaining("M has version 3 but this program reads up to 2; use a newer program");
        assertThatThrownBy(() -> CheckpointManifest.parse(json.replace("\"step\" : 5", "\"step\" : 6"), "M"))
                .hasMessageContaining("M is damaged: its checksum does not match");
    }

    @Test
    void keepsTheNewestUpToTheLimit() {
        for (int step = 1; step <= 4; step++) {
            CheckpointRun.save(root, model, 1, step, 1);
        }

        store.retain(0);
        assertThat(store.completeSteps()).hasSize(4);
        store.retain(2);

        assertThat(root.list())
                .extracting(Folder.Entry::name)
                .containsExactly("LATEST", "checkpoint-3", "checkpoint-4");
    }

    @Test
    void twoAttemptsCantBothCommit() {
        CheckpointRun.save(root, model, 1, 5, 1);

        assertThatThrownBy(() -> CheckpointRun.save(root, model, 2, 5, 1))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("checkpoint-5 was already made complete by another attempt");
        assertThat(store.newest(Check.CHECKSUMS)
                        .checkpoint()
                        .orElseThrow()
                        .manifest()
                        .attempt())
                .isEqualTo(1);
    }

    @Test
    void oneManifestIsCreatedHoweverCloseTwoAttemptsAre() {
        Checkpoint first = CheckpointRun.save(root, model, 1, 5, 1);
        CheckpointManifest other =
                new CheckpointManifest(2, "attempt-2-00000000", new RankMesh(1, 1), List.of(), CheckpointRun.state(5));

        assertThatThrownBy(() -> store.commit(other))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining("checkpoint-5 was already made complete by another attempt");
        assertThat(store.newest(Check.CHECKSUMS).checkpoint()).contains(first);
    }

    @Test
    void committingAgainWhatIsCommittedDoesNothing() {
        Checkpoint first = CheckpointRun.save(root, model, 1, 5, 2);

        Checkpoint second = CheckpointRun.save(root, model, 1, 5, 2);

        assertThat(second).isEqualTo(first);
    }

    @Test
    void aFileThatRankZeroDoesNotSeeStopsTheCommit() {
        CheckpointWriter writer = new CheckpointWriter(store, 1, CheckpointRun.RUN, new RankMesh(2, 2));
        List<WrittenFile> files = CheckpointRun.writeRank(writer, model, 5, 0, 2);
        List<WrittenFile> more = new ArrayList<>(files);
        more.add(new WrittenFile("attempt-1-x/model-rank00001-of-00002.safetensors", 10, 0));

        assertThatThrownBy(() -> writer.commit(more, CheckpointRun.state(5), "{}", model, model.spec()))
                .isInstanceOf(StorageException.class)
                .hasMessageContaining(
                        "should have 10 bytes but has none; check that all ranks see the same file system");
        assertThat(store.completeSteps()).isEmpty();
    }

    @Test
    void aMissingSliceIsNamed() {
        CheckpointWriter writer = new CheckpointWriter(store, 1, CheckpointRun.RUN, new RankMesh(2, 2));
        List<WrittenFile> half = CheckpointRun.writeRank(writer, model, 5, 1, 2);
        Checkpoint saved = writer.commit(half, CheckpointRun.state(5), "{}", model, model.spec());

        try (CheckpointReader reader = CheckpointReader.open(saved)) {
            assertThatThrownBy(() -> reader.read("exp_avg", "model.norm.weight", 1, ByteBuffer.allocate(8)))
                    .isInstanceOf(StorageException.class)
                    .hasMessageContaining("holds no exp_avg of model.norm.weight from element 1 on");
            assertThatThrownBy(() -> reader.read("master", "model.norm.weight", 0, ByteBuffer.allocate(8)))
                    .hasMessageContaining("holds no master of model.norm.weight");
        }
    }

    @Test
    void foreignCheckpointsAreLeftAlone() {
        root.write("checkpoint-7/pytorch_model.bin", "other program".getBytes(StandardCharsets.UTF_8));
        root.write("checkpoint-old/notes.txt", new byte[1]);

        store.collectOrphans();
        store.discardAfter(0);
        store.retain(1);

        assertThat(root.has("checkpoint-7/pytorch_model.bin")).isTrue();
        assertThat(root.has("checkpoint-old/notes.txt")).isTrue();
        assertThat(store.newest(Check.CHECKSUMS).checkpoint()).isEmpty();
    }

    @Test
    void leftoversOfDeadAttemptsAreCollected() {
        Checkpoint saved = CheckpointRun.save(root, model, 2, 5, 1);
        root.write("checkpoint-5/attempt-1-00000000/model-rank00000-of-00001.safetensors", new byte[9]);
        root.write("checkpoint-6/attempt-1-00000000/model-rank00000-of-00001.safetensors", new byte[9]);

        store.collectOrphans();

        assertThat(root.folder("checkpoint-6").exists()).isFalse();
        assertThat(root.folder("checkpoint-5/attempt-1-00000000").exists()).isFalse();
        assertThat(store.newest(Check.CHECKSUMS).checkpoint()).contains(saved);
    }
}
