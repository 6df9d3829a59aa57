package ulysses.driver.dataset;

import java.io.Serializable;

/**
 * One row of a dataset with its stable number.
 *
 * @param rowNumber position in the mixed dataset, from 0; the same for any number of executors, splits and retries
 * @param dataset name in dataset_info.json
 * @param fileRow position in its dataset before sampling and mixing, from 0
 * @param example what the row means, or {@link Example.Unusable}
 */
public record SourceRow(long rowNumber, String dataset, long fileRow, Example example) implements Serializable {}
