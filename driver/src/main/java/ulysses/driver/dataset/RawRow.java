package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.Serializable;

/**
 * One row as the file has it.
 *
 * @param fileRow position in its dataset, from 0
 * @param place file and line, for messages
 * @param value its columns
 */
record RawRow(long fileRow, String place, JsonNode value) implements Serializable {}
