package ulysses.runtime.objective;

import org.bytedeco.pytorch.Tensor;
import ulysses.runtime.attention.SequenceLayout;
import ulysses.runtime.collective.Collectives;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.CausalLm;

/** A model as the reference of preferences: forward only, split over the same group as the policy. Holds no native memory. */
public final class ReferenceModel implements Reference {
    private final CausalLm model;
    private final AnswerScores scores;
    private final Collectives group;

    /** {@code group} shares each sequence. */
    public ReferenceModel(CausalLm model, Collectives group) {
        this.model = model;
        this.scores = new AnswerScores(model.head(), group);
        this.group = group;
    }

    @Override
    public double[] documentSums(MicroBatch batch) {
        MicroBatch.Slice slice = batch.slice(group.rank(), group.size());
        try (TensorScope scope = TensorScope.open()) {
            Tensor embedded = model.embed(slice.ids()); // [s,D]
            Tensor hidden = model.on(new SequenceLayout(batch.documentEnds()), slice.positions())
                    .infer(embedded);
            try (CausalLm.HeadUse head = model.useHead()) {
                return scores.logProbabilities(
                        new Objective.Part(batch, slice, new double[0], hidden), Answers.of(batch));
            }
        }
    }
}
