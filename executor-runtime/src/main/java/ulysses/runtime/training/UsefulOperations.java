package ulysses.runtime.training;

import java.util.HashSet;
import java.util.Set;
import ulysses.runtime.data.MicroBatch;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterSpec;
import ulysses.runtime.weights.TunedModel;

/**
 * Floating-point operations that training needs: forward and backward of the trained model over documents, recomputation, padding and
 * a reference model left out. Divided by time and peak they are the model FLOPs utilization of PaLM (arXiv:2204.02311, appendix B).
 *
 * @param spec the model
 * @param frozenWeights of matrix products, that get no gradient: 2 operations a token less for each
 * @param adapterWeights 6 a token for each
 */
record UsefulOperations(ModelSpec spec, long frozenWeights, long adapterWeights) {
    private static final int GRADIENT = 2;
    private static final int ALL = 6;

    /** Of {@code tuned} as it is trained. */
    static UsefulOperations of(TunedModel tuned) {
        ModelSpec spec = tuned.spec();
        Set<String> trained = new HashSet<>();
        tuned.plan().trained().forEach(parameter -> trained.add(parameter.name()));
        long frozen = 0;
        for (ParameterSpec parameter : spec.parameters()) {
            boolean isProduct = spec.tiedHead() || !parameter.name().endsWith(ModelSpec.EMBEDDING);
            frozen += isProduct && !trained.remove(parameter.name()) ? parameter.elements() : 0;
        }
        long adapters = tuned.adapter().isPresent() ? tuned.plan().trainedElements() : 0;
        return new UsefulOperations(spec, frozen, adapters);
    }

    /** Of all ranks of a group for {@code batch}. */
    double of(MicroBatch batch) {
        double operations = 0;
        for (int document = 0; document < batch.documents(); document++) {
            operations += spec.flopsOfDocument(batch.documentEnds()[document + 1] - batch.documentEnds()[document]);
        }
        return operations + (double) batch.tokens() * (ALL * adapterWeights - GRADIENT * frozenWeights);
    }
}
