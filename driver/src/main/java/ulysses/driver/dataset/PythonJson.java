package ulysses.driver.dataset;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.math.BigDecimal;
import java.math.MathContext;
import java.math.RoundingMode;
import java.util.Map;

/**
 * JSON as Python's {@code json} module reads and writes it: {@code json.loads}, {@code json.dumps(..., ensure_ascii=False)} and
 * {@code str} of the values. Chat templates put such text into prompts, so a blank or a digit more gives other tokens.
 */
public final class PythonJson {

    /** Python reads no longer ones: the time for it grows with the square. */
    private static final int MOST_DIGITS = 4300;

    /** Documents may be longer than Jackson's limits, which are for hostile input. NaN and Infinity are numbers to Python. */
    private static final ObjectMapper JSON = JsonMapper.builder(JsonFactory.builder()
                    .streamReadConstraints(StreamReadConstraints.builder()
                            .maxStringLength(Integer.MAX_VALUE)
                            .maxNumberLength(MOST_DIGITS)
                            .build())
                    .build())
            .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build();

    private static final int INDENT = 4;
    private static final int COMPACT = -1;

    private PythonJson() {}

    /** A mapper that reads rows as Python does, for streams. */
    static ObjectMapper mapper() {
        return JSON;
    }

    /** {@code json.loads}: key order is kept, of duplicate keys the last value at the first place. */
    public static JsonNode parse(String text) throws JsonProcessingException {
        JsonNode node = JSON.readTree(text);
        if (node.isMissingNode()) {
            throw new com.fasterxml.jackson.core.JsonParseException(null, "there is no JSON value");
        }
        return node;
    }

    /** The line of a problem; 1 where Jackson doesn't say, as for what goes beyond its limits. */
    public static int line(JsonProcessingException problem) {
        return problem.getLocation() == null ? 1 : problem.getLocation().getLineNr();
    }

    /** {@code json.dumps(node, ensure_ascii=False)}. */
    public static String write(JsonNode node) {
        StringBuilder out = new StringBuilder();
        write(out, node, COMPACT);
        return out.toString();
    }

    /** {@code json.dumps(node, ensure_ascii=False, indent=4)}. */
    public static String writeIndented(JsonNode node) {
        StringBuilder out = new StringBuilder();
        write(out, node, 0);
        return out.toString();
    }

    private static void write(StringBuilder out, JsonNode node, int depth) {
        if (node.isObject()) {
            writeObject(out, node, depth);
        } else if (node.isArray()) {
            writeArray(out, node, depth);
        } else if (node.isTextual()) {
            writeString(out, node.textValue());
        } else if (node.isFloatingPointNumber()) {
            out.append(number(node.doubleValue()));
        } else {
            out.append(node.asText()); // null, true, false and integers of any length
        }
    }

    private static void writeObject(StringBuilder out, JsonNode node, int depth) {
        int inner = depth == COMPACT ? COMPACT : depth + 1;
        out.append('{');
        boolean first = true;
        for (Map.Entry<String, JsonNode> entry : node.properties()) {
            separate(out, first, inner);
            writeString(out, entry.getKey());
            out.append(": ");
            write(out, entry.getValue(), inner);
            first = false;
        }
        close(out, first, depth).append('}');
    }

    private static void writeArray(StringBuilder out, JsonNode node, int depth) {
        int inner = depth == COMPACT ? COMPACT : depth + 1;
        out.append('[');
        boolean first = true;
        for (JsonNode item : node) {
            separate(out, first, inner);
            write(out, item, inner);
            first = false;
        }
        close(out, first, depth).append(']');
    }

    private static void separate(StringBuilder out, boolean first, int depth) {
        if (depth != COMPACT) {
            out.append(first ? "" : ",").append('\n').append(" ".repeat(INDENT * depth));
        } else if (!first) {
            out.append(", ");
        }
    }

    private static StringBuilder close(StringBuilder out, boolean empty, int depth) {
        return depth == COMPACT || empty ? out : out.append('\n').append(" ".repeat(INDENT * depth));
    }

    private static void writeString(StringBuilder out, String text) {
        out.append('"');
        for (int i = 0; i < text.length(); i++) {
            char c = text.charAt(i);
            switch (c) {
                case '"' -> out.append("\\\"");
                case '\\' -> out.append("\\\\");
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                case '\b' -> out.append("\\b");
                case '\f' -> out.append("\\f");
                default -> {
                    if (c < 0x20) {
                        out.append("\\u%04x".formatted((int) c));
                    } else {
                        out.append(c);
                    }
                }
            }
        }
        out.append('"');
    }

    /** {@code str(value)}, as {@code "{}".format(value)} puts it into a text. */
    public static String str(JsonNode node) {
        return node.isTextual() ? node.textValue() : repr(node);
    }

    private static String repr(JsonNode node) {
        if (node.isTextual()) {
            return quoted(node.textValue());
        }
        if (node.isObject()) {
            StringBuilder out = new StringBuilder("{");
            node.properties()
                    .forEach(entry -> out.append(out.length() == 1 ? "" : ", ")
                            .append(quoted(entry.getKey()))
                            .append(": ")
                            .append(repr(entry.getValue())));
            return out.append('}').toString();
        }
        if (node.isArray()) {
            StringBuilder out = new StringBuilder("[");
            node.forEach(item -> out.append(out.length() == 1 ? "" : ", ").append(repr(item)));
            return out.append(']').toString();
        }
        if (node.isFloatingPointNumber()) {
            double value = node.doubleValue();
            return Double.isNaN(value)
                    ? "nan"
                    : Double.isInfinite(value) ? (value > 0 ? "inf" : "-inf") : number(value);
        }
        return node.isNull() ? "None" : node.isBoolean() ? (node.booleanValue() ? "True" : "False") : node.asText();
    }

    /** {@code repr} of a text: double quotes only when it holds single ones and no double ones. */
    private static String quoted(String text) {
        char quote = text.indexOf('\'') >= 0 && text.indexOf('"') < 0 ? '"' : '\'';
        StringBuilder out = new StringBuilder().append(quote);
        text.codePoints().forEach(c -> {
            switch (c) {
                case '\\' -> out.append("\\\\");
                case '\n' -> out.append("\\n");
                case '\r' -> out.append("\\r");
                case '\t' -> out.append("\\t");
                default -> {
                    if (c == quote) {
                        out.append('\\').append(quote);
                    } else if (c < 0x20 || (c >= 0x7f && c <= 0xa0) || c == 0xad) {
                        out.append("\\x%02x".formatted(c));
                    } else {
                        out.appendCodePoint(c);
                    }
                }
            }
        });
        return out.append(quote).toString();
    }

    /** {@code float.__repr__}: the shortest digits that read back as the same double; an exponent below 1e-4 and from 1e16. */
    public static String number(double value) {
        if (Double.isNaN(value)) {
            return "NaN";
        }
        if (Double.isInfinite(value)) {
            return value > 0 ? "Infinity" : "-Infinity";
        }
        if (value == 0) {
            return 1 / value < 0 ? "-0.0" : "0.0";
        }
        BigDecimal shortest = shortest(Math.abs(value)).stripTrailingZeros();
        String digits = shortest.unscaledValue().toString();
        int exponent = digits.length() - shortest.scale() - 1;
        String sign = value < 0 ? "-" : "";
        if (exponent >= -4 && exponent < 16) {
            String plain = shortest.toPlainString();
            return sign + plain + (plain.indexOf('.') < 0 ? ".0" : "");
        }
        String fraction = digits.length() > 1 ? "." + digits.substring(1) : "";
        return sign + digits.charAt(0) + fraction + "e%s%02d".formatted(exponent < 0 ? "-" : "+", Math.abs(exponent));
    }

    /** Java's own {@code Double.toString} gives a digit too many now and then before JDK 19. */
    private static BigDecimal shortest(double value) {
        BigDecimal exact = new BigDecimal(value);
        for (int precision = 1; precision < 17; precision++) {
            for (RoundingMode mode : new RoundingMode[] {RoundingMode.HALF_EVEN, RoundingMode.UP, RoundingMode.DOWN}) {
                BigDecimal rounded = exact.round(new MathContext(precision, mode));
                if (rounded.doubleValue() == value) {
                    return rounded;
                }
            }
        }
        return exact.round(new MathContext(17, RoundingMode.HALF_EVEN));
    }
}
