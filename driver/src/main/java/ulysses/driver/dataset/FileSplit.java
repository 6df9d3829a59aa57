package ulysses.driver.dataset;

import java.io.Serializable;

/**
 * A part of a file with the numbers of its first row and line.
 *
 * @param file the file
 * @param layout how rows lie in it
 * @param start first byte
 * @param end byte behind the last; of lines, the last line may reach beyond
 * @param firstRow number of its first row in the dataset, from 0
 * @param firstLine number of its first line in the file, from 1
 */
record FileSplit(SourceFile file, Layout layout, long start, long end, long firstRow, long firstLine)
        implements Serializable {

    /** How rows lie in a file. */
    enum Layout {
        /** A JSON object a line; blank lines are no rows. */
        JSON_LINES,
        /** Elements of one JSON array. */
        JSON_ARRAY,
        /** A document a line. */
        TEXT_LINES,
        CSV,
        ARROW
    }

    /** The same part with other numbers. */
    FileSplit numbered(long row, long line) {
        return new FileSplit(file, layout, start, end, row, line);
    }
}
