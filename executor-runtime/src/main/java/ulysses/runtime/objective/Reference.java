package ulysses.runtime.objective;

import ulysses.runtime.data.MicroBatch;

/** The model that preferences are measured against; it is not trained. */
@FunctionalInterface
public interface Reference {

    /**
     * Sum of the log-probabilities of the trained tokens of each document of {@code batch}, over the whole document. Collective over
     * the sequence-parallel group, whose ranks all get the same.
     */
    double[] documentSums(MicroBatch batch);
}
