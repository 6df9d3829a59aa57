package ulysses.driver.dataset;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.univocity.parsers.common.TextParsingException;
import com.univocity.parsers.csv.CsvParser;
import com.univocity.parsers.csv.CsvParserSettings;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.io.PushbackReader;
import java.io.Reader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.util.function.Supplier;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.data.DataException;

/** Rows of a CSV file with a header (RFC 4180: quotes doubled, line ends inside quotes). Every value is text; an empty one is null. */
final class CsvReader extends SplitReader {

    private final CsvParser parser;
    private final String[] header;
    private long row;

    CsvReader(FileSplit split, Configuration hadoop) throws IOException {
        super(split);
        this.row = split.firstRow();
        CsvParserSettings settings = new CsvParserSettings();
        settings.setMaxCharsPerColumn(-1);
        settings.setMaxColumns(20_480);
        settings.setIgnoreLeadingWhitespaces(false);
        settings.setIgnoreTrailingWhitespaces(false);
        settings.setNormalizeLineEndingsWithinQuotes(false);
        settings.setLineSeparatorDetectionEnabled(true);
        settings.setReadInputOnSeparateThread(false);
        settings.getFormat().setComment('\0'); // a text may begin with #
        this.parser = new CsvParser(settings);
        Reader reader = reader(open(split, hadoop));
        this.header = named(record("header", () -> {
            parser.beginParsing(reader);
            return parser.parseNext();
        }));
    }

    /** A column without a name gets one, as in pandas. */
    private static String[] named(@Nullable String[] header) {
        String[] names = new String[header.length];
        for (int i = 0; i < names.length; i++) {
            String name = header[i];
            names[i] = name == null || name.isEmpty() ? "Unnamed: " + i : name;
        }
        return names;
    }

    /** Refuses bytes that are not UTF-8; a byte order mark is left out. */
    private static Reader reader(InputStream stream) throws IOException {
        PushbackReader reader = new PushbackReader(new InputStreamReader(stream, StandardCharsets.UTF_8.newDecoder()));
        int first = reader.read();
        if (first >= 0 && first != '\uFEFF') {
            reader.unread(first);
        }
        return reader;
    }

    /** The values of a record; none at the end. */
    private String[] record(String place, Supplier<String @Nullable []> parse) {
        try {
            String[] values = parse.get();
            return values == null ? new String[0] : values;
        } catch (TextParsingException | IllegalStateException damaged) {
            throw new DataException(split.file().path() + " " + reason(place, damaged), damaged);
        }
    }

    /** The parser reads ahead, so it can't tell the row of a damaged byte. */
    private static String reason(String place, RuntimeException damaged) {
        for (Throwable cause = damaged; cause != null; cause = cause.getCause()) {
            if (cause instanceof CharacterCodingException) {
                return "is not UTF-8; convert the file";
            }
        }
        return "can't be read at " + place + ": " + damaged.getMessage();
    }

    @Override
    @Nullable
    RawRow read() {
        String number = "row %d".formatted(row - split.firstRow() + 1);
        String[] values = record(number, parser::parseNext);
        if (values.length == 0) {
            return null;
        }
        String place = split.file().path() + " " + number;
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
