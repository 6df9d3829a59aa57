package ulysses.runtime.model;

/**
 * What ranks hold of the states of a model: ZeRO's stages (Rajbhandari and others, arXiv:1910.02054, section 5) over all ranks, those
 * that share a sequence included. 0: everything on every rank; 1: optimizer states and master weights are cut; 2: gradients too; 3:
 * weights too, those of frozen parameters included.
 *
 * @param stage 0 to 3
 * @param rank this one, of all
 * @param ranks all
 */
public record Sharding(int stage, int rank, int ranks) {

    /** Everything is here. */
    public static final Sharding NONE = new Sharding(0, 0, 1);

    public Sharding {
        if (stage < 0 || stage > 3 || rank < 0 || rank >= ranks) {
            throw new IllegalArgumentException(
                    "stage %d on rank %d of %d; stages are 0 to 3".formatted(stage, rank, ranks));
        }
    }

    /** Stage {@code stage}; one rank has nobody to share with. */
    public static Sharding of(int stage, int rank, int ranks) {
        return stage == 0 || ranks == 1 ? NONE : new Sharding(stage, rank, ranks);
    }

    /** Whether a rank owns a part of the optimizer's states only. */
    public boolean cutsStates() {
        return stage >= 1;
    }

    /** Whether a rank holds gradients of what it owns only. */
    public boolean cutsGradients() {
        return stage >= 2;
    }

    /** Whether a rank holds weights of what it owns only. */
    public boolean cutsWeights() {
        return stage >= 3;
    }
}
