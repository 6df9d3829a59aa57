package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.univocity.parsers.csv.CsvParser;
import com.univocity.parsers.csv.CsvParserSettings;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.data.DataException;

/** Rows of a CSV file with a header (RFC 4180: quotes doubled, line ends inside quotes). Every value is text; an empty one is null. */
final class CsvReader extends SplitReader {

    private final FileSplit split;
    private final CsvParser parser;
    private final String[] header;
    private long row;

    CsvReader(FileSplit split, Configuration hadoop) throws IOException {
        this.split = split;
        this.row = split.firstRow();
        CsvParserSettings settings = new CsvParserSettings();
        settings.setMaxCharsPerColumn(-1);
        settings.setMaxColumns(20_480);
        settings.setIgnoreLeadingWhitespaces(false);
        settings.setIgnoreTrailingWhitespaces(false);
        settings.setNormalizeLineEndingsWithinQuotes(false);
        settings.setLineSeparatorDetectionEnabled(true);
        this.parser = new CsvParser(settings);
        parser.beginParsing(open(split, hadoop), StandardCharsets.UTF_8);
        String[] first = parser.parseNext();
        this.header = first == null ? new String[0] : first;
    }

    @Override
    @Nullable
    RawRow read() {
        String[] values = parser.parseNext();
        if (values == null) {
            return null;
        }
        String place = "%s row %d".formatted(split.file().path(), row - split.firstRow() + 1);
        if (values.length > header.length) {
            throw new DataException(
                    "%s has %d values but the header names %d columns; put values that hold commas in quotes"
                            .formatted(place, values.length, header.length));
        }
        ObjectNode object = JsonNodeFactory.instance.objectNode();
        for (int i = 0; i < header.length; i++) {
            String value = i < values.length ? values[i] : null;
            object.put(header[i], value == null || value.isEmpty() ? null : value);
        }
        return new RawRow(row++, place, object);
    }
}
