package ulysses.driver.plan;

import java.util.List;
import ulysses.driver.plan.MemoryEstimate.Line;
import ulysses.driver.plan.MemoryEstimate.Moment;
import ulysses.runtime.config.ParallelConfig.Device;
import ulysses.runtime.mesh.HeadLayout;
import ulysses.runtime.mesh.TileShape;
import ulysses.runtime.weights.KeptActivations;
import ulysses.runtime.weights.KeptActivations.Strength;
import ulysses.runtime.weights.ModelSpec;

/**
 * What a micro-batch holds on one rank, read off the runtime's code: DecoderLayer, UlyssesAttention, HeadSequenceExchange, NextToken
 * and TiledCrossEntropy. Every method is one shape or one moment; all give bytes.
 */
final class MicroBatchMemory {
    /** Elements of one tile of logits: TILE_ELEMENTS of the runtime's TiledCrossEntropy. */
    private static final long TILE_ELEMENTS = 32L << 20;

    private static final int FEWEST_TILE_ROWS = 16;

    /**
     * Longer buffers count as given back when they are freed, others as kept for the next. Fitted with rows of up to 4,096 tokens (see
     * PlanAgainstMeasured): RankCommand's threshold keeps longer ones too, and much longer rows were seen to leave holes in the heap.
     */
    private static final long GIVEN_BACK_FROM = 32L << 20;

    /** See OffloadedSegments of the runtime. */
    private static final int LAYERS_HERE = 2;

    private final RunShape shape;
    private final ModelSpec model;
    private final HeadLayout heads;
    private final long element;

    MicroBatchMemory(RunShape shape) {
        this.shape = shape;
        this.model = shape.model();
        this.heads = shape.heads();
        this.element = shape.elementBytes();
    }

    void addTo(List<Line> lines) {
        int inputs = here(model.layers()) + 1;
        lines.add(line(Moment.MICRO_BATCH, "layer inputs", inputs * hidden(), inputs + " x [s,D]"));
        kept(lines, Strength.ATTENTION, Strength.INPUT, "attention outputs", "[S,n,H], and logsumexp in float32");
        kept(lines, Strength.PROJECTIONS, Strength.ATTENTION, "q, k, v", "[S, n + 2k, H]");
        kept(lines, Strength.EVERYTHING, Strength.PROJECTIONS, "inside of layers", "[s,D], 2 x [s,F]");
        lines.add(line(Moment.MICRO_BATCH, "rotation", 2 * rotation(), "cos and sin [s,H]"));
        lines.add(
                line(Moment.LOSS, "loss: hidden states", 4 * hidden(), "and gradients, 4 x [s,D], all tokens trained"));
        lines.add(line(Moment.LOSS, "loss: one tile", tile(), tileRows() + " x V logits"));
        lines.add(line(
                Moment.MLP_BACKWARD, "MLP backward", mlpBackward(), "one tile of [s,F], gradients [s,D] and [s,N,H]"));
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

    /** On the CPU, what short buffers took stays taken: it comes on top of one long buffer. */
    void addHeldByLibrary(List<Line> lines) {
        if (shape.device() != Device.CPU || tile() < GIVEN_BACK_FROM) {
            return;
        }
        boolean shortOutputs = Math.max(output(), hidden()) < GIVEN_BACK_FROM;
        long attention = shortOutputs ? attentionHeld() + kernel() : 0;
        long exchange = shortOutputs && shape.isSplit() ? attentionHeld() + 2 * wholeQkv() + packedQkv() : 0;
        long tiles = Math.max(mlpBackward(), Math.max(attention, exchange));
        long bytes = Math.max(0, tiles - 4 * hidden());
        lines.add(line(Moment.LOSS, "freed, not given back", bytes, "by the C library, of buffers below 32 MiB"));
    }

    private void kept(List<Line> lines, Strength strength, Strength below, String name, String how) {
        int layers = here(shape.layersKeeping(strength));
        if (layers > 0) {
            KeptActivations kept = shape.kept();
            long bytes = layers * (kept.bytes(strength) - kept.bytes(below));
            lines.add(line(Moment.MICRO_BATCH, name, bytes, layers + " x " + how));
        }
    }

    /** Layers of {@code keeping} whose memory is here at once: with offload that of the one that runs, and of the one before it. */
    private int here(int keeping) {
        return shape.mesh().states().offloadsActivations() ? Math.min(keeping, LAYERS_HERE) : keeping;
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
        return shape.sequence() * heads.mostQueries() * model.headSize() * element;
    }

    private long logsumexp() {
        return shape.sequence() * heads.mostQueries() * Float.BYTES;
    }

    private long rotation() {
        return shape.part() * model.headSize() * element;
    }

    /** [s,N,H]: attention's output of the rank's tokens. */
    private long localOutput() {
        return shape.part() * model.heads() * model.headSize() * element;
    }

    /** q [S,n,H], k and v [S,k,H] as attention takes them. */
    private long wholeQkv() {
        return shape.sequence() * (heads.mostQueries() + 2L * heads.mostKvsOfAttention()) * model.headSize() * element;
    }

    /** q, k and v of the rank's tokens with the copies of kv heads that ranks share. */
    private long packedQkv() {
        return shape.part() * heads.packed() * model.headSize() * element;
    }

    /** Bytes of one tile in the backward of what lies behind attention: six [t,F] and twelve [t,D] at most. */
    private long mlpTile() {
        long tokens = Math.min(shape.part(), TileShape.of(shape.device()).tokens(model.mlpSize()));
        return tokens * (6L * model.mlpSize() + 12L * model.hiddenSize()) * element;
    }

    private boolean keepsLeast() {
        return shape.layersKeeping(Strength.ATTENTION) < model.layers();
    }

    /**
     * The gradients of the layer's output and input, attention's output and its gradient, and a tile; where nothing was kept also what
     * attention made again.
     */
    private long mlpBackward() {
        long attended = shape.isSplit() ? localOutput() : 0; // else a view of what is kept
        long again = keepsLeast() ? wholeQkv() + output() + logsumexp() : 0;
        return 2 * hidden() + attended + localOutput() + mlpTile() + again;
    }

    /** All through attention's backward: two gradients [s,D], that of its output, and q, k, v and theirs. */
    private long attentionHeld() {
        long outputGradient = shape.isSplit() ? output() : 0;
        boolean again = shape.layersKeeping(Strength.PROJECTIONS) < model.layers();
        long least = keepsLeast() ? output() + logsumexp() : 0;
        return 2 * hidden() + localOutput() + outputGradient + (again ? wholeQkv() : 0) + least + wholeQkv();
    }

    /** What the kernel needs beside its results: results of one document on the CPU; float32 dq and unshared dk, dv on CUDA. */
    private long kernel() {
        if (shape.device() == Device.CPU) {
            return wholeQkv();
        }
        long accumulated = shape.sequence() * heads.mostQueries() * model.headSize() * Float.BYTES;
        return accumulated + (heads.mostQueries() == heads.mostKvsOfAttention() ? 0 : 2 * output());
    }

    private long tileRows() {
        return Math.min(shape.part(), Math.max(FEWEST_TILE_ROWS, TILE_ELEMENTS / model.vocabularySize()));
    }

    /** Logits in float32, in whose place their gradient is made; in bfloat16 also as they were computed, and their gradient. */
    private long tile() {
        return tileRows() * model.vocabularySize() * (shape.isBfloat16() ? 8 : 4);
    }
}
