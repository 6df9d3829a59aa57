package ulysses.driver.packing;

import java.util.Optional;

/**
 * Where the rows of a run are.
 *
 * @param trainPath folder of the training rows
 * @param evalPath folder of the evaluation rows, if there are any
 * @param report what preparing made of the data; empty for rows that another program prepared
 * @param reused whether they were there already
 */
public record PreparedData(
        String trainPath, Optional<String> evalPath, Optional<PrepareReport> report, boolean reused) {}
