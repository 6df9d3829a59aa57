package ulysses.driver.plan;

import java.util.List;
import ulysses.driver.plan.MemoryEstimate.Line;
import ulysses.driver.plan.MemoryEstimate.Moment;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.weights.ModelSpec;

/**
 * What a micro-batch holds on one rank, read off the runtime's code: DecoderLayer, UlyssesAttention, HeadSequenceExchange, NextToken
 * and TiledCrossEntropy. Every method is one shape or one moment; all give bytes.
 */
final class ActivationMemory {
    /** Elements of one tile of logits: TILE_ELEMENTS of the runtime's TiledCrossEntropy. */
    private static final long TILE_ELEMENTS = 32L << 20;

    private static final int FEWEST_TILE_ROWS = 16;

    private final RunShape shape;
    private final ModelSpec model;
    private final HeadShare heads;
    private final long element;

    ActivationMemory(RunShape shape) {
        this.shape = shape;
        this.model = shape.model();
        this.heads = shape.heads();
        this.element = shape.elementBytes();
    }

    void addTo(List<Line> lines) {
        int layers = model.layers();
        lines.add(line(Moment.MICRO_BATCH, "layer inputs", (layers + 1) * hidden(), (layers + 1) + " x [s,D]"));
        lines.add(line(Moment.MICRO_BATCH, "attention outputs", layers * output(), layers + " x [S,n,H]"));
        lines.add(line(Moment.MICRO_BATCH, "logsumexp", layers * logsumexp(), layers + " x [S,n] in float32"));
        lines.add(line(Moment.MICRO_BATCH, "rotation", 2 * rotation(), "cos and sin [s,H]"));
        if (!shape.checkpointing()) {
            lines.add(line(
                    Moment.MICRO_BATCH,
                    "graphs",
                    layers * (finishGraph() + projectionGraph()),
                    layers + " x all that autograd keeps of a layer"));
        }
        lines.add(
                line(Moment.LOSS, "loss: hidden states", 4 * hidden(), "and gradients, 4 x [s,D], all tokens trained"));
        lines.add(line(Moment.LOSS, "loss: one tile", tile(), tileRows() + " x V logits"));
        lines.add(line(Moment.MLP_BACKWARD, "MLP backward", mlpBackward(), "6 x [s,F] and what it reads"));
        lines.add(line(
                Moment.ATTENTION_BACKWARD,
                "attention backward",
                attentionHeld() + kernel(),
                "q, k, v, output and their gradients"));
        if (shape.isSplit()) {
            lines.add(line(
                    Moment.EXCHANGE,
                    "exchange buffers",
                    attentionHeld() + 2 * wholeQkv() + packedQkv(),
                    "gradients of q, k, v, sent and received"));
        }
    }

    private static Line line(Moment moment, String name, long bytes, String how) {
        return new Line(moment, name, bytes, how);
    }

    /** [s,D]. */
    private long hidden() {
        return shape.part() * model.hiddenSize() * element;
    }

    /** [S,n,H]: attention's output of the rank's heads. */
    private long output() {
        return shape.sequence() * heads.queries() * model.headSize() * element;
    }

    private long logsumexp() {
        return shape.sequence() * heads.queries() * Float.BYTES;
    }

    private long rotation() {
        return shape.part() * model.headSize() * element;
    }

    /** [s,F]. */
    private long wide() {
        return shape.part() * model.mlpSize() * element;
    }

    /** [s,N,H]: attention's output of the rank's tokens. */
    private long localOutput() {
        return shape.part() * model.heads() * model.headSize() * element;
    }

    /** q [s,N,H], k and v [s,K,H]. */
    private long localQkv() {
        return shape.part() * (model.heads() + 2L * model.kvHeads()) * model.headSize() * element;
    }

    /** q [S,n,H], k and v [S,k,H]. */
    private long wholeQkv() {
        return shape.sequence() * (heads.queries() + 2L * heads.kvs()) * model.headSize() * element;
    }

    /** q, k and v of the rank's tokens with the copies of kv heads that ranks share. */
    private long packedQkv() {
        return shape.part() * heads.packed() * model.headSize() * element;
    }

    /** What a norm keeps beside its input and output: CUDA's fused one nothing of size, the CPU's float32 steps of it. */
    private long norm() {
        if (shape.device() == Device.CUDA) {
            return 0;
        }
        long float32 = shape.part() * model.hiddenSize() * Float.BYTES;
        return shape.isBfloat16() ? 2 * float32 : float32;
    }

    /** The second local part as recorded: attention's output where it came by exchange, two [s,D] round the norm, four [s,F], the result. */
    private long finishGraph() {
        return (shape.isSplit() ? localOutput() : 0) + 3 * hidden() + norm() + 4 * wide();
    }

    /** The first local part as recorded: the normed input, then q, k, v, and q and k before their norms. */
    private long projectionGraph() {
        long normedHeads = model.family().queryKeyNorm()
                ? shape.part() * (model.heads() + (long) model.kvHeads()) * model.headSize() * element
                : 0;
        return hidden() + norm() + localQkv() + normedHeads;
    }

    /**
     * The incoming gradient and that of the loss, the recorded graph, and gradients: three [s,F] beside three of the graph, or later
     * those of all weights of this part, which autograd gives back together.
     */
    private long mlpBackward() {
        long recorded = shape.checkpointing() ? finishGraph() : 0;
        long matrix = (long) model.mlpSize() * model.hiddenSize() * element;
        long outputMatrix = (long) model.heads() * model.headSize() * model.hiddenSize() * element;
        long early = 2 * wide() + matrix; // two more than the four of the graph, one of which is gone
        long late = -2 * wide() + 3 * matrix + outputMatrix; // two of them are left
        return 2 * hidden() + recorded + Math.max(early, late);
    }

    /** All through attention's backward: three gradients [s,D], that of its output, the recorded projections, and what was exchanged. */
    private long attentionHeld() {
        long recorded = shape.checkpointing() ? projectionGraph() : 0;
        long exchanged = shape.isSplit() ? wholeQkv() + output() : 0;
        return 3 * hidden() + localOutput() + recorded + exchanged + wholeQkv();
    }

    /** What the kernel needs beside its results: results of one document on the CPU; float32 dq and unshared dk, dv on CUDA. */
    private long kernel() {
        if (shape.device() == Device.CPU) {
            return wholeQkv();
        }
        long accumulated = shape.sequence() * heads.queries() * model.headSize() * Float.BYTES;
        return accumulated + (heads.queries() == heads.kvs() ? 0 : 2 * output());
    }

    private long tileRows() {
        return Math.min(shape.part(), Math.max(FEWEST_TILE_ROWS, TILE_ELEMENTS / model.vocabularySize()));
    }

    /** Logits in float32 and one more of their size; in bfloat16 also as they were computed. */
    private long tile() {
        return tileRows() * model.vocabularySize() * (shape.isBfloat16() ? 10 : 8);
    }
}
