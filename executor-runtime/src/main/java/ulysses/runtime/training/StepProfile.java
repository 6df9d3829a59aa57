package ulysses.runtime.training;

import ulysses.runtime.collective.Timeline;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.weights.Folder;

/**
 * {@code profile}: records one step of this rank, the third that it runs (or the last, of fewer), and writes the trace. By then
 * buffers are there and paths are warm.
 */
final class StepProfile {
    /** In {@code output_dir}. */
    static final String FOLDER = "profile";

    private static final int STEPS_BEFORE = 2;

    private final Timeline timeline;
    private final Folder output;
    private final RankAssignment assignment;
    private long recorded;
    private int written;

    /** Of {@code assignment}'s rank; {@code timeline} is what all that it does records on. */
    StepProfile(Timeline timeline, Folder output, RankAssignment assignment) {
        this.timeline = timeline;
        this.output = output;
        this.assignment = assignment;
    }

    /** What a rank records on: nothing, unless it was told to. */
    static Timeline timeline(TrainingConfig config) {
        return config.output().reporting().profile() ? new Timeline() : Timeline.OFF;
    }

    /** Step {@code step} begins; the command began after {@code first} of {@code total}. */
    void begin(long step, long first, long total) {
        if (timeline != Timeline.OFF && step == Math.min(first + STEPS_BEFORE + 1, total)) {
            recorded = step;
            timeline.start();
        }
    }

    /** All that belongs to a step is done, save what its checkpoint still does in the background. */
    void end() {
        if (timeline.isRecording()) {
            timeline.stop();
            write();
        }
    }

    /** The last checkpoint is complete. */
    void finish() {
        if (timeline.size() > written) {
            write();
        }
    }

    private void write() {
        written = timeline.size();
        output.folder(FOLDER)
                .write(
                        "step-%d-rank%05d.json".formatted(recorded, assignment.rank()),
                        timeline.toJson(assignment.rank(), assignment.host()));
    }
}
