package ulysses.driver.packing;

import java.io.Serializable;
import ulysses.driver.packing.PrepareReport.Row;

/**
 * What became of one row on its way to a shard.
 *
 * @param row where it comes from
 * @param encoded ids and labels, or why it is dropped
 */
record PlacedExample(Row row, Encoded encoded) implements Serializable {}
