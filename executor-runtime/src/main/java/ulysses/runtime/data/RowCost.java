package ulysses.runtime.data;

/**
 * How long a sequence-parallel group computes on a row, in any unit: the same for all groups and a pure function of the row, so that
 * every rank deals rows alike.
 */
@FunctionalInterface
public interface RowCost {

    /** Cost of a document of {@code tokens} tokens. */
    double ofDocument(int tokens);

    /** Cost of {@code row}: that of its documents, or of all together where they see each other. */
    default double of(PackedRow row) {
        double cost = 0;
        for (int tokens : row.seenTogether()) {
            cost += ofDocument(tokens);
        }
        return cost;
    }
}
