package ulysses.runtime.training;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import ulysses.runtime.config.TrainingConfig;
import ulysses.runtime.config.TuningConfig;
import ulysses.runtime.data.DataException;
import ulysses.runtime.data.PackedDataset;
import ulysses.runtime.data.RankBatches;
import ulysses.runtime.data.RowCost;
import ulysses.runtime.data.RowDealing.Meeting;
import ulysses.runtime.mesh.EvaluationSet;
import ulysses.runtime.mesh.RankAssignment;
import ulysses.runtime.weights.ModelSpec;

/** The prepared rows of a run, those to train on and those to evaluate on, and what this rank takes of them. */
final class RunRows implements AutoCloseable {

    /** Steps whose rows are looked at to say what groups will wait; chosen: enough for a tenth of a per cent, few to read. */
    private static final long STEPS_EXPECTED = 50;

    private final RankAssignment assignment;
    private final TrainingConfig config;
    private final List<Set> sets = new ArrayList<>(); // the first is trained on

    private record Set(String name, String folder, PackedDataset rows) {}

    /**
     * A set to evaluate on.
     *
     * @param name begins the names of its results
     * @param batches all of its rows once
     */
    record Evaluated(String name, RankBatches batches) {}

    private RunRows(RankAssignment assignment) {
        this.assignment = assignment;
        this.config = assignment.config();
    }

    /**
     * Opens all sets.
     *
     * @param scratch where copies of what lies elsewhere go
     * @param vocabulary rows of the model's embedding
     * @throws DataException if a set can't be read or is not what the stage trains on
     */
    static RunRows open(RankAssignment assignment, Path scratch, Configuration hadoop, int vocabulary)
            throws IOException {
        RunRows rows = new RunRows(assignment);
        try {
            rows.open("train", assignment.trainRows(), scratch, hadoop, vocabulary);
            for (EvaluationSet set : assignment.evalRows()) {
                rows.open(set.name(), set.folder(), scratch, hadoop, vocabulary);
            }
            return rows;
        } catch (IOException | RuntimeException e) { // sets that are open already
            rows.close();
            throw e;
        }
    }

    private void open(String name, String folder, Path scratch, Configuration hadoop, int vocabulary)
            throws IOException {
        PackedDataset rows = PackedDataset.open(folder, scratch.resolve(name), hadoop, vocabulary);
        sets.add(new Set(name, folder, rows));
        rows.require(
                config.tuning().stage() == TuningConfig.Stage.DPO
                        ? PackedDataset.Content.PAIRS
                        : PackedDataset.Content.TEXTS);
    }

    /** Of the rows to train on. */
    String fingerprint() {
        return sets.get(0).rows().fingerprint();
    }

    /** This rank's micro-batches: rows of a step are dealt to groups by what they cost, which rank 0 says with what it is worth. */
    RankBatches training(ModelSpec spec, RankReporter reporter) {
        RankBatches inOrder =
                RankBatches.training(sets.get(0).rows(), assignment.mesh(), assignment.rank(), config.step());
        RowCost cost = spec::flopsOfDocument;
        Meeting meeting = config.parallel().zeroStage() >= 2 ? Meeting.BEHIND_MICRO_BATCH : Meeting.BEHIND_STEP;
        RankBatches balanced = inOrder.balanced(cost, meeting);
        if (assignment.rank() == 0 && assignment.mesh().dataParallelSize() > 1) {
            reporter.note(
                    "groups are expected to wait %.1f %% of the first %d steps for each other (%.1f %% with rows in order)"
                            .formatted(
                                    100 * balanced.expectedWait(cost, meeting, STEPS_EXPECTED),
                                    Math.min(STEPS_EXPECTED, balanced.totalSteps()),
                                    100 * inOrder.expectedWait(cost, meeting, STEPS_EXPECTED)));
        }
        return balanced;
    }

    /** The sets to evaluate on, in their order. */
    List<Evaluated> evaluation() {
        return sets.stream()
                .skip(1)
                .map(set -> new Evaluated(set.name(), once(set)))
                .toList();
    }

    /** All sets as a reference model walks them. */
    List<RunReference.RowSet> all() {
        return sets.stream()
                .map(set -> new RunReference.RowSet(set.folder(), once(set)))
                .toList();
    }

    private RankBatches once(Set set) {
        return RankBatches.evaluation(
                set.rows(),
                assignment.mesh(),
                assignment.rank(),
                config.evaluation().rowsPerRank());
    }

    @Override
    public void close() throws IOException {
        for (Set set : sets) {
            set.rows().close();
        }
    }
}
