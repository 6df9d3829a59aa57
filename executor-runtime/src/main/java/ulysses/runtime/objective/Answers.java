package ulysses.runtime.objective;

import java.util.Arrays;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.data.PackedRow;

/**
 * The documents of a micro-batch as answers, known to every rank of its group: how many tokens each trains, and what each of them
 * weighs.
 */
final class Answers {
    private final MicroBatch batch;
    private final int[] trained;
    private final int[] fullWeightEnds;
    private final double restWeight;

    private Answers(MicroBatch batch, int[] trained, int[] fullWeightEnds, double restWeight) {
        this.batch = batch;
        this.trained = trained;
        this.fullWeightEnds = fullWeightEnds;
        this.restWeight = restWeight;
    }

    /** All trained tokens weigh 1. */
    static Answers of(MicroBatch batch) {
        return new Answers(batch, trained(batch), ends(batch), 1);
    }

    /**
     * Tokens beyond the length of the shorter answer of a pair weigh {@code ldAlpha} (LD-DPO, arXiv:2409.06411, with the lengths
     * LLaMA-Factory takes).
     */
    static Answers ofPairs(MicroBatch batch, double ldAlpha) {
        int[] trained = trained(batch);
        int[] ends = ends(batch);
        for (int document = 0; document < trained.length; document++) {
            int shorter = Math.min(trained[document], trained[document ^ 1]);
            int first = batch.documentEnds()[document];
            while (first < ends[document] && batch.targets()[first] == PackedRow.IGNORE_INDEX) {
                first++;
            }
            ends[document] = Math.min(ends[document], first + shorter);
        }
        return new Answers(batch, trained, ends, ldAlpha);
    }

    private static int[] trained(MicroBatch batch) {
        int[] trained = new int[batch.documents()];
        for (int document = 0; document < trained.length; document++) {
            for (int t = batch.documentEnds()[document]; t < batch.documentEnds()[document + 1]; t++) {
                trained[document] += batch.targets()[t] == PackedRow.IGNORE_INDEX ? 0 : 1;
            }
        }
        return trained;
    }

    private static int[] ends(MicroBatch batch) {
        return Arrays.copyOfRange(batch.documentEnds(), 1, batch.documents() + 1);
    }

    /** Documents. */
    int count() {
        return trained.length;
    }

    /** Trained tokens of a document. */
    int trained(int document) {
        return trained[document];
    }

    /** All tokens of a document. */
    int length(int document) {
        return batch.documentEnds()[document + 1] - batch.documentEnds()[document];
    }

    /** What the trained token at {@code place} of the stream weighs. */
    double weight(int document, int place) {
        return place < fullWeightEnds[document] ? 1 : restWeight;
    }

    /** The document at {@code place} of the stream; {@link #count()} in padding. */
    int document(int place) {
        int found = Arrays.binarySearch(batch.documentEnds(), place);
        return found >= 0 ? found : -found - 2;
    }
}
