package ulysses.runtime.training;

import java.io.IOException;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.RankBatches;
import ulysses.runtime.data.StepBatches;

/** The loss over all evaluation rows, weighted by tokens. Collective: all ranks call it at the same step. */
final class EvaluationPass {

    private final SequenceStep sequence;
    private final RankBatches batches;
    private final Agreement agreement;

    /** Over {@code batches}, in their order. */
    EvaluationPass(SequenceStep sequence, RankBatches batches, Agreement agreement) {
        this.sequence = sequence;
        this.batches = batches;
        this.agreement = agreement;
    }

    /** Runs it. */
    TrainerLog.Evaluation run() throws IOException {
        long begin = System.nanoTime();
        double lossSum = 0;
        long trained = 0;
        long rows = 0;
        for (long step = 0; step < batches.stepsPerEpoch(); step++) {
            StepBatches batch = batches.step(step);
            for (MicroBatch microBatch : batch.microBatches()) {
                lossSum += sequence.loss(microBatch);
            }
            trained += batch.globalTrainedTokens();
            rows += batch.globalRows();
        }
        double loss = agreement.sum(lossSum) / Math.max(1, trained);
        return new TrainerLog.Evaluation(loss, (System.nanoTime() - begin) / 1e9, rows, batches.microBatchesPerEpoch());
    }
}
