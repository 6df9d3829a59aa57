package ulysses.runtime.training;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointReader;
import ulysses.runtime.checkpoint.CheckpointStore;
import ulysses.runtime.checkpoint.CheckpointWriter;
import ulysses.runtime.checkpoint.TrainState;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.TunedModel;
import ulysses.runtime.weights.WrittenFile;

/** The checkpoints of one run as its ranks use them. Collective: every rank calls the same methods in the same order. */
final class RunCheckpoints {

    private static final ObjectMapper JSON = new ObjectMapper();

    private final RankAssignment assignment;
    private final CheckpointStore store;
    private final CheckpointWriter writer;
    private final ModelDirectory source;
    private final TunedModel tuned;
    private final Agreement agreement;
    private final Configuration hadoop;

    /** {@code source} and {@code tuned}: the model that training started from, and as it is trained. */
    RunCheckpoints(
            RankAssignment assignment,
            ModelDirectory source,
            TunedModel tuned,
            Agreement agreement,
            Configuration hadoop) {
        this.assignment = assignment;
        this.source = source;
        this.tuned = tuned;
        this.agreement = agreement;
        this.hadoop = hadoop;
        this.store = new CheckpointStore(Folder.at(output().checkpoints(), hadoop));
        this.writer = new CheckpointWriter(store, assignment.attempt(), assignment.runId(), assignment.mesh());
    }

    private TrainingConfig.Output output() {
        return assignment.config().output();
    }

    /**
     * The checkpoint to continue from, the same on all ranks: the newest that an earlier attempt of this run wrote; else the one that
     * was asked for; else, unless the run was told to begin anew, the newest that is complete. What lies after it is removed.
     *
     * @param warnings gets what was passed over, on rank 0
     */
    Optional<Checkpoint> latest(List<String> warnings) {
        String chosen = assignment.rank() == 0 ? choose(warnings) : "";
        String path = agreement.gather(chosen).get(0);
        if (path.isEmpty()) {
            return Optional.empty();
        }
        return Optional.of(Checkpoint.open(Folder.at(path, hadoop), Checkpoint.Check.LENGTHS));
    }

    private String choose(List<String> warnings) {
        Optional<Checkpoint> found = assignment.attempt() == 1
                ? Optional.empty()
                : passingOver(store.newestOf(assignment.runId(), Checkpoint.Check.CHECKSUMS), warnings);
        if (found.isEmpty()) {
            found = asTold(warnings);
        }
        store.discardAfter(found.map(checkpoint -> checkpoint.state().step()).orElse(0L));
        store.collectOrphans();
        return found.map(Checkpoint::path).orElse("");
    }

    private Optional<Checkpoint> asTold(List<String> warnings) {
        @Nullable String wanted = output().resumeFromCheckpoint();
        if (wanted != null && !wanted.equals(TrainingConfig.Output.NEVER_RESUME)) {
            return Optional.of(Checkpoint.open(Folder.at(wanted, hadoop), Checkpoint.Check.CHECKSUMS));
        }
        return output().startsAnew()
                ? Optional.empty()
                : passingOver(store.newest(Checkpoint.Check.CHECKSUMS), warnings);
    }

    private static Optional<Checkpoint> passingOver(CheckpointStore.Newest newest, List<String> warnings) {
        newest.warnings().stream()
                .filter(warning -> !warnings.contains(warning))
                .forEach(warnings::add);
        return newest.checkpoint();
    }

    /** Reads {@code checkpoint} into {@code state}; refuses one that was trained on other rows than {@code rowsFingerprint}'s. */
    void restore(Checkpoint checkpoint, String rowsFingerprint, ModelState state) {
        String written = checkpoint.state().dataFingerprint();
        if (!written.equals(rowsFingerprint)) {
            throw new StorageException(
                    "checkpoint %s was trained on other rows (fingerprint %s, this run has %s); use the same data settings, another output_dir, or overwrite_output_dir: true"
                            .formatted(checkpoint.path(), shortened(written), shortened(rowsFingerprint)));
        }
        try (CheckpointReader reader = CheckpointReader.open(checkpoint)) {
            state.restore(reader, checkpoint.state().step());
        }
    }

    private static String shortened(String fingerprint) {
        return fingerprint.substring(0, Math.min(12, fingerprint.length()));
    }

    /**
     * Writes a checkpoint: all ranks their shares, then rank 0 completes it.
     *
     * @param trainerState rank 0's {@code trainer_state.json}; other ranks give an empty text
     * @return its path, on rank 0
     */
    Optional<String> save(ModelState model, TrainState state, String trainerState) {
        int rank = assignment.rank();
        int ranks = assignment.mesh().worldSize();
        List<WrittenFile> mine;
        try (ModelState.Weights weights = model.weights(rank, ranks)) {
            mine = writer.writeRank(state.step(), rank, weights.tensors(), model.optimizerStates(rank, ranks));
        }
        List<WrittenFile> all = new ArrayList<>();
        agreement.gather(toJson(mine)).forEach(json -> all.addAll(fromJson(json)));
        if (rank != 0) {
            return Optional.empty();
        }
        Checkpoint checkpoint = commit(all, state, trainerState);
        store.retain(output().saveTotalLimit());
        return Optional.of(checkpoint.path());
    }

    private Checkpoint commit(List<WrittenFile> files, TrainState state, String trainerState) {
        return tuned.adapter()
                .map(lora -> writer.commitAdapter(files, state, trainerState, lora, tuned.origin(assignment.config())))
                .orElseGet(() -> writer.commit(files, state, trainerState, source, tuned.spec()));
    }

    private static String toJson(List<WrittenFile> files) {
        try {
            return JSON.writeValueAsString(files);
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("files can't be written as JSON", e);
        }
    }

    private static List<WrittenFile> fromJson(String json) {
        try {
            return JSON.readValue(json, new TypeReference<>() {});
        } catch (JsonProcessingException e) {
            throw new IllegalStateException("another rank sent " + json, e);
        }
    }
}
