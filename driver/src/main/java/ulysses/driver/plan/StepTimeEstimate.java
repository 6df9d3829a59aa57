package ulysses.driver.plan;

import java.util.List;
import java.util.function.IntToDoubleFunction;
import ulysses.runtime.config.AttentionPattern;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.weights.KeptActivations.Strength;
import ulysses.runtime.weights.ModelSpec;
import ulysses.runtime.weights.ParameterSpec;

/**
 * Seconds of one optimizer step on the busiest rank, one part after the other, as the runtime does it today: nothing overlaps.
 *
 * @param matmul products with weights, recomputation included
 * @param attention forward and backward of attention
 * @param allToAll exchanges within the group
 * @param states gradients and weights between all ranks
 * @param optimizer norm, clipping and AdamW, which are bound by memory
 * @param tokens tokens of the step over all groups
 */
public record StepTimeEstimate(
        double matmul, double attention, double allToAll, double states, double optimizer, long tokens) {

    /** Bytes that the optimizer's passes over the flat buffers read and write for each parameter, the update of bfloat16 weights left out. */
    private static final int OPTIMIZER_BYTES = 4 + 20 + 8 + 28; // zero, norm through float64, clip, AdamW

    private static final int PUBLISH_BYTES = 6; // float32 read, bfloat16 written

    /** Of {@code shape} on {@code hardware}. */
    public static StepTimeEstimate of(RunShape shape, HardwareProfile hardware) {
        int accumulation = shape.batch().accumulation();
        int ranks = shape.mesh().ranks();
        int group = shape.mesh().group();
        StepCommunication moved = StepCommunication.of(shape);
        int optimizerBytes = OPTIMIZER_BYTES + (shape.isBfloat16() ? PUBLISH_BYTES : 0);
        double peak = hardware.peakFlops(shape.isBfloat16());
        return new StepTimeEstimate(
                accumulation * matmulOperations(shape) / (peak * hardware.matmulShare()),
                accumulation * attentionOperations(shape, layer -> 1 / attentionShare(shape, layer, hardware)) / peak,
                moved.allToAllSent(group) / hardware.collectiveBytesPerSecond(group),
                moved.statesSent(ranks) / hardware.collectiveBytesPerSecond(ranks),
                (double) shape.trained() / owners(shape) * optimizerBytes / (hardware.memoryGbPerS() * 1e9),
                shape.sequence() * accumulation * shape.mesh().groups());
    }

    /** Ranks that share the optimizer's work. */
    private static int owners(RunShape shape) {
        return shape.mesh().stage() == 0 ? 1 : shape.mesh().ranks();
    }

    /**
     * Operations of one rank and micro-batch: two a weight and token, twice (forward and the gradient of what goes in), once more for
     * the gradient of a trained weight, and once more for a product whose result was not kept; of the head and of the down projection
     * none is made again. An adapter's weights come on top.
     */
    static double matmulOperations(RunShape shape) {
        ModelSpec model = shape.model();
        double head = (double) model.vocabularySize() * model.hiddenSize();
        double layers = model.nonEmbeddingParameterCount() - (model.tiedHead() ? 0 : head);
        double adapter = shape.tuned().adapter().isPresent() ? 3 * (double) shape.trained() : 0;
        return 2.0 * shape.part() * (layers * 2 + again(shape) + head * 2 + multiplied(shape) + adapter);
    }

    /** Weights whose products are made again. */
    private static double again(RunShape shape) {
        ModelSpec model = shape.model();
        double width = (double) model.hiddenSize() * model.headSize();
        double projections = width * (model.heads() + 2.0 * model.kvHeads());
        double inner = width * model.heads() + 2.0 * model.hiddenSize() * model.mlpSize();
        int layers = model.layers();
        return (layers - shape.layersKeeping(Strength.PROJECTIONS)) * projections
                + (layers - shape.layersKeeping(Strength.EVERYTHING)) * inner;
    }

    /** Trained weights that something is multiplied by: all but an embedding that is no head. */
    private static double multiplied(RunShape shape) {
        return shape.tuned().plan().trained().stream()
                .filter(parameter ->
                        shape.model().tiedHead() || !parameter.name().endsWith(ModelSpec.EMBEDDING))
                .mapToDouble(ParameterSpec::elements)
                .sum();
    }

    /**
     * Operations of one rank and micro-batch: two products over the keys that each query sees in forward, five in backward, which
     * computes scores again (FlashAttention-2, arXiv:2307.08691, section 2.3), and two more where not even attention's output is kept.
     *
     * @param weightOfLayer 1 to count them; else each layer's count times so much
     */
    static double attentionOperations(RunShape shape, IntToDoubleFunction weightOfLayer) {
        double perProduct = 2.0 * shape.heads().mostQueries() * shape.model().headSize();
        List<Strength> strengths = shape.strengths();
        double pairs = 0;
        for (int layer = 0; layer < shape.model().layers(); layer++) {
            int products = strengths.get(layer) == Strength.INPUT ? 9 : 7;
            pairs += weightOfLayer.applyAsDouble(layer)
                    * products
                    * shape.model().pattern(layer).pairs(shape.rowTokens())
                    * shape.batch().rows();
        }
        return perProduct * pairs;
    }

    private static double attentionShare(RunShape shape, int layer, HardwareProfile hardware) {
        boolean isLong = shape.device() == Device.CUDA
                && shape.isBfloat16()
                && shape.rowTokens() >= AttentionPattern.LONG_DOCUMENT
                && shape.model().pattern(layer).equals(AttentionPattern.DENSE);
        return isLong ? hardware.longAttentionShare() : hardware.attentionShare();
    }

    /** All parts together. */
    public double total() {
        return matmul + attention + allToAll + states + optimizer;
    }

    /** Tokens a second, all groups together. */
    public double tokensPerSecond() {
        return tokens / total();
    }
}
