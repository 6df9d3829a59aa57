package ulysses.driver.dataset;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectReader;
import java.io.ByteArrayInputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.SequenceInputStream;
import java.util.Collections;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.jspecify.annotations.Nullable;
import ulysses.runtime.data.DataException;

/** Elements of a part of a JSON array, parsed one by one. */
final class JsonArraySplitReader extends SplitReader {

    private static final ObjectReader ELEMENTS =
            PythonJson.mapper().reader().without(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

    private final JsonParser parser;
    private long row;

    JsonArraySplitReader(FileSplit split, Configuration hadoop) throws IOException {
        super(split);
        this.row = split.firstRow();
        InputStream part = new Part(open(split, hadoop), split.end() - split.start());
        this.parser = PythonJson.mapper().createParser((InputStream)
                new SequenceInputStream(Collections.enumeration(List.of(bracket("["), part, bracket("]")))));
        parser.nextToken();
    }

    private static InputStream bracket(String bracket) {
        return new ByteArrayInputStream(bracket.getBytes(java.nio.charset.StandardCharsets.US_ASCII));
    }

    @Override
    @Nullable
    RawRow read() throws IOException {
        try {
            if (parser.nextToken() == JsonToken.END_ARRAY) {
                return null;
            }
            String place = "%s line %d"
                    .formatted(
                            split.file().path(),
                            line(parser.currentTokenLocation().getLineNr()));
            JsonNode value = ELEMENTS.readTree(parser);
            if (!value.isObject()) {
                throw new DataException("%s is not a JSON object but %s; write an array of objects"
                        .formatted(place, RowMapping.shown(value)));
            }
            return new RawRow(row++, place, value);
        } catch (JsonProcessingException damaged) {
            throw new DataException(
                    "%s line %d is not valid JSON: %s (row %d)"
                            .formatted(
                                    split.file().path(),
                                    line(PythonJson.line(damaged)),
                                    damaged.getOriginalMessage(),
                                    row),
                    damaged);
        }
    }

    private long line(int inPart) {
        return split.firstLine() + inPart - 1;
    }

    /** A stream that ends after a number of bytes. */
    private static final class Part extends FilterInputStream {
        private long left;

        Part(InputStream in, long length) {
            super(in);
            this.left = length;
        }

        @Override
        public int read() throws IOException {
            byte[] one = new byte[1];
            return read(one, 0, 1) < 0 ? -1 : one[0] & 0xFF;
        }

        @Override
        public int read(byte[] buffer, int offset, int length) throws IOException {
            if (left == 0) {
                return -1;
            }
            int count = in.read(buffer, offset, (int) Math.min(length, left));
            left -= Math.max(count, 0);
            return count;
        }
    }
}
