package ulysses.runtime.gradient;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import ulysses.runtime.memory.TensorScope;
import ulysses.runtime.model.ParameterSharing;
import ulysses.runtime.model.Parameters;
import ulysses.runtime.segment.Parameter;
import ulysses.runtime.weights.ParameterBlock;

/**
 * The gradients that this rank goes on with once they are summed, parameter by parameter: all of each, or the pieces that it owns;
 * and sums over them that are the same on all ranks.
 */
public final class GradientSlices {

    private final ParameterSharing sharing;
    private final boolean cut;
    private final List<Slice> slices = new ArrayList<>();

    /**
     * What this rank holds of one parameter's gradient.
     *
     * @param parameter its name and shape, also where its numbers are elsewhere
     * @param first element of the flattened parameter
     * @param buffer where it lies, from element {@code offset} on
     */
    record Slice(Parameter parameter, long first, long elements, Tensor buffer, long offset) {
        /** Its elements, flat, as a view in the caller's scope. */
        Tensor values() {
            return buffer.view(buffer.numel()).narrow(0, offset, elements);
        }

        /** Adds to {@code sums}, one a row of the parameter as a matrix, what this slice has of them; float64. */
        void addRowSums(double[] sums) {
            try (TensorScope scope = TensorScope.open()) {
                long columns = columns();
                Tensor filled = values().new_zeros(rowsTouched() * columns);
                filled.narrow(0, first % columns, elements).copy_(values());
                Tensor ofRows = filled.view(rowsTouched(), columns)
                        .sum(new long[] {1}, false, new ScalarTypeOptional(torch.ScalarType.Double))
                        .cpu();
                double[] mine = new double[Math.toIntExact(rowsTouched())];
                new DoublePointer(ofRows.data_ptr()).get(mine);
                for (int i = 0; i < mine.length; i++) {
                    sums[Math.toIntExact(first / columns) + i] += mine[i];
                }
            }
        }

        /** Takes from every element what {@code sums} make the mean of its row. */
        void subtractRowMeans(double[] sums) {
            try (TensorScope scope = TensorScope.open()) {
                long columns = columns();
                float[] means = new float[Math.toIntExact(rowsTouched())];
                for (int i = 0; i < means.length; i++) {
                    means[i] = (float) (sums[Math.toIntExact(first / columns) + i] / columns);
                }
                Tensor ofRows = torch.tensor(means).to(buffer.device(), torch.ScalarType.Float);
                Tensor ofElements = ofRows.repeat_interleave(columns); // [rows touched * columns]
                values().sub_(ofElements.narrow(0, first % columns, elements));
            }
        }

        private long columns() {
            return parameter.value().numel() / parameter.value().size(0);
        }

        private long rowsTouched() {
            return (first % columns() + elements + columns() - 1) / columns();
        }
    }

    /** Of the trained parameters that {@code sharing} is about. */
    public GradientSlices(ParameterSharing sharing) {
        this.sharing = sharing;
        Parameters parameters = sharing.parameters();
        this.cut = parameters.sharding().cutsStates();
        if (cut) {
            parameters.shares().forEach(share -> addPieces(parameters, share));
        } else {
            for (Parameter parameter : parameters.trained()) {
                Tensor gradient = parameter.gradient();
                slices.add(new Slice(parameter, 0, gradient.numel(), gradient, 0));
            }
        }
    }

    private void addPieces(Parameters parameters, Parameters.Share share) {
        for (ParameterBlock.Piece piece :
                share.block().pieces(parameters.sharding().rank())) {
            Parameter parameter = parameters.get(piece.place().parameter().name());
            slices.add(new Slice(parameter, piece.first(), piece.elements(), share.gradients(), piece.offset()));
        }
    }

    /** What this rank holds. */
    List<Slice> slices() {
        return List.copyOf(slices);
    }

    /** What this rank holds of {@code parameter}, if anything. */
    List<Slice> of(Parameter parameter) {
        return slices.stream().filter(slice -> slice.parameter() == parameter).toList();
    }

    /** The trained parameters, in the same order on all ranks. */
    List<Parameter> parameters() {
        return sharing.parameters().trained();
    }

    /** Whether other ranks hold the rest. */
    boolean areCut() {
        return cut;
    }

    /** Sums {@code values} over all ranks, where they hold different pieces. Collective. */
    double[] sum(double[] values) {
        return cut ? sharing.sum(values) : values;
    }
}
