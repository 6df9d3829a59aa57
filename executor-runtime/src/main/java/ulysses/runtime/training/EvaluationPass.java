package ulysses.runtime.training;

import java.io.IOException;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.RankBatches;
import ulysses.runtime.data.StepBatches;
import ulysses.runtime.objective.Objective;

/** The loss over all rows of an evaluation set, weighted by its terms: tokens, or pairs. Collective: all ranks call it at the same step. */
final class EvaluationPass {

    private final String name;
    private final SequenceStep sequence;
    private final RankBatches batches;
    private final Agreement agreement;
    private final Runnable progress;

    /**
     * Over {@code batches}, in their order.
     *
     * @param name begins the names of its results
     * @param progress is told of each micro-batch that is done
     */
    EvaluationPass(String name, SequenceStep sequence, RankBatches batches, Agreement agreement, Runnable progress) {
        this.name = name;
        this.sequence = sequence;
        this.batches = batches;
        this.agreement = agreement;
        this.progress = progress;
    }

    /** Runs it. */
    TrainerLog.Evaluation run() throws IOException {
        long begin = System.nanoTime();
        Objective.Sums sums = sequence.nothing();
        long terms = 0;
        long rows = 0;
        for (long step = 0; step < batches.stepsPerEpoch(); step++) {
            StepBatches batch = batches.step(step);
            for (MicroBatch microBatch : batch.microBatches()) {
                sums = sums.plus(sequence.sums(microBatch));
                progress.run();
            }
            terms += sequence.terms(batch);
            rows += batch.globalRows();
        }
        SequenceStep.Means means = sequence.means(sums, terms, agreement);
        return new TrainerLog.Evaluation(
                name,
                means.loss(),
                means.metrics(),
                (System.nanoTime() - begin) / 1e9,
                rows,
                batches.microBatchesPerEpoch());
    }
}
