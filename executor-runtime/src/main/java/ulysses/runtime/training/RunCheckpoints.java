package ulysses.runtime.training;

import java.time.Duration;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.checkpoint.Checkpoint;
import ulysses.runtime.checkpoint.CheckpointReader;
import ulysses.runtime.checkpoint.CheckpointStore;
import ulysses.runtime.checkpoint.CheckpointWriter;
import ulysses.runtime.checkpoint.ResumePoint;
import ulysses.runtime.checkpoint.ResumeTerms;
import ulysses.runtime.checkpoint.TrainState;
import ulysses.runtime.collective.Timeline;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.weights.Folder;
import ulysses.runtime.weights.ModelDirectory;
import ulysses.runtime.weights.StorageException;
import ulysses.runtime.weights.TensorData;
import ulysses.runtime.weights.TunedModel;
import ulysses.runtime.weights.WrittenFile;

/**
 * The checkpoints of one run as its ranks use them. Collective: every rank calls the same methods in the same order. A checkpoint is
 * written from a copy of the state, by one thread a rank, while the next steps run.
 */
final class RunCheckpoints implements AutoCloseable {

    /** How long NFS may show a folder as it was; 60 s by default. */
    private static final Duration VISIBLE = Duration.ofSeconds(90);

    private static final long LOOK_MILLIS = 100;

    private final RankAssignment assignment;
    private final CheckpointStore store;
    private final CheckpointWriter writer;
    private final ModelDirectory source;
    private final TunedModel tuned;
    private final Agreement agreement;
    private final Configuration hadoop;
    private final Watch watch;
    private final BackgroundWriter background = new BackgroundWriter();
    private BackgroundWriter.@Nullable Work pending;
    private volatile boolean awaited;

    /**
     * Who looks on.
     *
     * @param saved is told of each complete checkpoint, on the writing thread of rank 0
     * @param timeline where writing is recorded
     * @param progress is told of each part that is read, or written while the thread of the steps waits for it
     */
    record Watch(Consumer<Checkpoint> saved, Timeline timeline, Runnable progress) {}

    /** {@code source} and {@code tuned}: the model that training started from, and as it is trained. */
    RunCheckpoints(
            RankAssignment assignment,
            ModelDirectory source,
            TunedModel tuned,
            Agreement agreement,
            Configuration hadoop,
            Watch watch) {
        this.watch = watch;
        this.assignment = assignment;
        this.source = source;
        this.tuned = tuned;
        this.agreement = agreement;
        this.hadoop = hadoop;
        this.store = new CheckpointStore(Folder.at(output().checkpoints(), hadoop), watch.progress());
        this.writer = new CheckpointWriter(store, assignment.attempt(), assignment.runId(), assignment.mesh());
    }

    private TrainingConfig.Output output() {
        return assignment.config().output();
    }

    /**
     * The checkpoint to continue from, the same on all ranks; see {@link ResumePoint}.
     *
     * @param terms of this run
     * @param warnings gets what was passed over, on rank 0
     */
    Optional<Checkpoint> latest(ResumeTerms terms, List<String> warnings) {
        String chosen = assignment.rank() == 0
                ? resumePoint().prepare(terms, warnings).map(Checkpoint::path).orElse("")
                : "";
        String path = agreement.gather(chosen).get(0);
        if (path.isEmpty()) {
            return Optional.empty();
        }
        return Optional.of(Checkpoint.open(Folder.at(path, hadoop), Checkpoint.Check.LENGTHS));
    }

    private ResumePoint resumePoint() {
        return new ResumePoint(output(), assignment.attempt(), assignment.runId(), store, hadoop);
    }

    /** Reads {@code checkpoint} into {@code state}. */
    void restore(Checkpoint checkpoint, ModelState state) {
        try (CheckpointReader reader = CheckpointReader.open(checkpoint)) {
            state.restore(reader, checkpoint.state().updates(), watch.progress());
        }
    }

    /**
     * Copies this rank's share of the state, with {@code save_only_model} of the weights, and writes it in the background; waits for the
     * checkpoint before only. Collective.
     *
     * @param trainerState rank 0's {@code trainer_state.json}; other ranks give an empty text
     */
    void save(ModelState model, TrainState state, String trainerState) {
        finish();
        int rank = assignment.rank();
        int ranks = assignment.mesh().worldSize();
        TensorSnapshot weights;
        try (ModelState.Weights whole = model.weights(rank, ranks)) {
            weights = TensorSnapshot.of(whole.tensors());
        }
        TensorSnapshot states;
        try {
            states = TensorSnapshot.of(output().saveOnlyModel() ? List.of() : model.optimizerStates(rank, ranks));
        } catch (RuntimeException e) {
            weights.close();
            throw e;
        }
        Timeline.Spans spans = watch.timeline().spans(Timeline.Track.WRITER);
        pending = background.begin(
                () -> {
                    try (Timeline.Span span = spans.begin("write the checkpoint's part");
                            weights;
                            states) {
                        writer.writeRank(state.step(), rank, watched(weights), watched(states));
                    }
                },
                written -> {
                    if (rank == 0) {
                        Checkpoint checkpoint = committed(state, trainerState, written, spans);
                        store.retain(output().saveTotalLimit());
                        watch.saved().accept(checkpoint);
                    }
                });
    }

    private List<TensorData> watched(TensorSnapshot snapshot) {
        return snapshot.tensors().stream()
                .map(tensor -> tensor.watched(this::written))
                .toList();
    }

    /** Counts only while it is waited for: beside steps, writing must not hide that ranks hang in one. */
    private void written() {
        if (awaited) {
            watch.progress().run();
        }
    }

    private Checkpoint committed(
            TrainState state, String trainerState, BackgroundWriter.AllWritten written, Timeline.Spans spans)
            throws InterruptedException {
        List<WrittenFile> files;
        try (Timeline.Span span = spans.begin("wait for the parts of other ranks")) {
            files = awaitRanks(state.step(), written);
        }
        try (Timeline.Span span = spans.begin("commit the checkpoint")) {
            return commit(files, state, trainerState);
        }
    }

    /** Waits until the checkpoint that is being written, if any, is written, on rank 0 until it is complete. Collective. */
    void finish() {
        BackgroundWriter.Work work = pending;
        if (work != null) {
            awaited = true;
            try {
                work.awaitWritten();
            } finally {
                awaited = false;
            }
            agreement.gather("written");
            work.allHaveWritten();
            work.awaitDone();
            pending = null;
        }
    }

    /** Throws what made the writing fail, if it has. Not collective: the other ranks hear of it when this one ends. */
    void check() {
        BackgroundWriter.Work work = pending;
        if (work != null) {
            work.check();
        }
    }

    @Override
    public void close() {
        background.close();
    }

    /** What all ranks wrote, when all have: known from the folder, since only the thread of the steps may talk to other ranks. */
    private List<WrittenFile> awaitRanks(long step, BackgroundWriter.AllWritten all) throws InterruptedException {
        CheckpointWriter.Gathering parts = writer.gathering(step);
        while (true) {
            boolean lastLook = all.forLongerThan(VISIBLE);
            Optional<List<WrittenFile>> files = parts.look();
            if (files.isPresent()) {
                return files.get();
            }
            if (lastLook) {
                throw new StorageException(
                        "all ranks have written their parts of %s, but %d s later rank 0 does not see them all; check that all hosts see the same file system there"
                                .formatted(store.folder(step).path(), VISIBLE.toSeconds()));
            }
            TimeUnit.MILLISECONDS.sleep(LOOK_MILLIS);
        }
    }

    private Checkpoint commit(List<WrittenFile> files, TrainState state, String trainerState) {
        return tuned.adapter()
                .map(lora -> writer.commitAdapter(files, state, trainerState, lora, tuned.origin(assignment.config())))
                .orElseGet(() -> writer.commit(files, state, trainerState, source, tuned.spec()));
    }
}
