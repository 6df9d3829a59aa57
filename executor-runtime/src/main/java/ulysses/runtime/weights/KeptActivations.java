package ulysses.runtime.weights;

import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * What the layers of a model keep of their forward for their backward, and what that weighs on one rank. The more is kept the less
 * is computed again; numbers stay the same, bit for bit.
 *
 * @param tokens of this rank's part of the sequence, s
 * @param stream tokens of the whole sequence, S
 * @param queryHeads of attention on one rank, n: those of the rank that has most
 * @param kvHeads that attention reads on one rank: k, or n where uneven groups need a copy for each query head
 * @param elementBytes bytes of an element of the compute dtype
 */
public record KeptActivations(
        ModelSpec model, long tokens, long stream, int queryHeads, int kvHeads, int elementBytes) {

    /** How much a layer keeps; each strength keeps what those before it keep. Its input lives in any case. */
    public enum Strength {
        /** Nothing: attention runs again, and so do the products before and behind it. */
        INPUT,
        /** Attention's output and logsumexp: what grows with the square of the length is never run again. */
        ATTENTION,
        /** q, k and v as attention took them: neither their products nor their exchange are run again. */
        PROJECTIONS,
        /** All that a product gave: none is run again. */
        EVERYTHING
    }

    /** Bytes that a layer of strength {@code strength} keeps, its input not counted. */
    public long bytes(Strength strength) {
        long head = (long) model.headSize() * elementBytes;
        long attention = stream * queryHeads * (head + Float.BYTES); // [S,n,H] and [S,n]
        long projections = stream * (queryHeads + 2L * kvHeads) * head; // [S,n,H], twice [S,k,H]
        long inner = tokens * (model.hiddenSize() + 2L * model.mlpSize()) * elementBytes; // [s,D], twice [s,F]
        long exchanged = stream == tokens ? 0 : tokens * model.heads() * head; // [s,N,H]
        return switch (strength) {
            case INPUT -> 0;
            case ATTENTION -> attention;
            case PROJECTIONS -> attention + projections;
            case EVERYTHING -> attention + projections + inner + exchanged;
        };
    }

    /**
     * The strength of each layer, first layer first, that keeps at most {@code budget} bytes together: first attention in as many
     * layers as that allows, then projections, then the rest. Layers near the end, whose memory is free again first, keep more.
     */
    public List<Strength> within(long budget) {
        List<Strength> ofLayers = new ArrayList<>(all(Strength.INPUT));
        long left = Math.max(0, budget);
        int reached = model.layers();
        Strength before = Strength.INPUT;
        for (Strength strength : List.of(Strength.ATTENTION, Strength.PROJECTIONS, Strength.EVERYTHING)) {
            long step = bytes(strength) - bytes(before);
            reached = (int) Math.min(reached, left / step);
            left -= reached * step;
            Collections.fill(ofLayers.subList(model.layers() - reached, model.layers()), strength);
            before = strength;
        }
        return List.copyOf(ofLayers);
    }

    /** Bytes of all layers where each has strength {@code strength}. */
    public long bytesOfAll(Strength strength) {
        return model.layers() * bytes(strength);
    }

    /** The same strength for every layer. */
    public List<Strength> all(Strength strength) {
        return Collections.nCopies(model.layers(), strength);
    }
}
