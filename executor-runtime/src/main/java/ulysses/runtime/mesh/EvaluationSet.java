package ulysses.runtime.mesh;

import java.io.Serializable;

/**
 * Rows that are evaluated together.
 *
 * @param name begins the names of its results, as in {@code eval_loss}: eval, or eval_DATASET with {@code eval_on_each_dataset}
 * @param folder where its prepared rows lie
 */
public record EvaluationSet(String name, String folder) implements Serializable {
    /** Name of all evaluation rows together. */
    public static final String ALL = "eval";

    /** Name of the rows of one dataset. */
    public static String nameOf(String dataset) {
        return ALL + "_" + dataset;
    }
}
