package ulysses.driver.packing;

import java.util.List;
import java.util.Optional;
import ulysses.runtime.mesh.EvaluationSet;

/**
 * Where the rows of a run are.
 *
 * @param trainPath folder of the training rows
 * @param evalSets rows to evaluate on, in order
 * @param report what preparing made of the data; empty for rows that another program prepared
 * @param reused whether they were there already
 */
public record PreparedData(
        String trainPath, List<EvaluationSet> evalSets, Optional<PrepareReport> report, boolean reused) {
    public PreparedData {
        evalSets = List.copyOf(evalSets);
    }
}
