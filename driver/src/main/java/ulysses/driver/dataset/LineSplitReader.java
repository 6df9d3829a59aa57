package ulysses.driver.dataset;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.io.Text;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.data.DataException;

/** Rows of a part of a file of lines. */
final class LineSplitReader extends SplitReader {

    private final LineCursor lines;
    private final Text line = new Text();
    private long row;
    private long lineNumber;

    LineSplitReader(FileSplit split, Configuration hadoop) throws IOException {
        super(split);
        this.lines = new LineCursor(split, open(split, hadoop));
        this.row = split.firstRow();
        this.lineNumber = split.firstLine();
    }

    @Override
    @Nullable
    RawRow read() throws IOException {
        while (lines.next(line)) {
            long number = lineNumber++;
            if (split.layout() == FileSplit.Layout.TEXT_LINES || !LineCursor.isBlank(line)) {
                String place = "%s line %d".formatted(split.file().path(), number);
                return new RawRow(row++, place, value(place));
            }
        }
        return null;
    }

    private JsonNode value(String place) {
        String text = text(place);
        if (split.layout() == FileSplit.Layout.TEXT_LINES) {
            return JsonNodeFactory.instance.objectNode().put("text", text);
        }
        try {
            JsonNode value = PythonJson.parse(text);
            if (!value.isObject()) {
                throw new DataException("%s is not a JSON object but %s; write one object a line"
                        .formatted(place, RowMapping.shown(value)));
            }
            return value;
        } catch (JsonProcessingException damaged) {
            throw new DataException(
                    "%s is not valid JSON: %s at column %d; write one object a line, or one array in the file"
                            .formatted(
                                    place,
                                    damaged.getOriginalMessage(),
                                    damaged.getLocation() == null
                                            ? 1
                                            : damaged.getLocation().getColumnNr()),
                    damaged);
        }
    }

    /** A damaged byte is refused: replaced in silence it would be trained. */
    private String text(String place) {
        try {
            return StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(line.getBytes(), 0, line.getLength()))
                    .toString();
        } catch (CharacterCodingException damaged) {
            throw new DataException("%s is not UTF-8; convert the file".formatted(place), damaged);
        }
    }
}
