package ulysses.driver.jinja;

import com.fasterxml.jackson.databind.JsonNode;
import java.time.LocalDate;
import java.time.format.DateTimeFormatter;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.LongStream;

/**
 * A Jinja template as transformers runs chat templates: sandboxed (values can't be changed), {@code trim_blocks} and
 * {@code lstrip_blocks}, loop controls, the tag {@code generation}, {@code tojson} without ASCII escapes, {@code raise_exception} and
 * {@code strftime_now}. Immutable; safe for use by several threads.
 */
public final class JinjaTemplate {
    private static final int LONGEST_RANGE = 100_000;

    private final Statement body;

    private JinjaTemplate(Statement body) {
        this.body = body;
    }

    /**
     * A part of the text that was made.
     *
     * @param start first char
     * @param end char behind the last
     */
    public record Span(int start, int end) {}

    /**
     * What a template made.
     *
     * @param text all of it
     * @param generated what stands in {@code generation} blocks
     */
    public record Rendered(String text, List<Span> generated) {}

    /**
     * Reads a template.
     *
     * @throws JinjaException with the line of what can't be read
     */
    public static JinjaTemplate parse(String source) {
        try {
            return new JinjaTemplate(new TemplateParser(Lexer.tokens(source)).template());
        } catch (StackOverflowError deep) {
            throw new JinjaException("it nests too deep");
        }
    }

    /**
     * Runs it.
     *
     * @param names values by name
     * @param today what {@code strftime_now} writes, at midnight
     * @throws JinjaException where the template refuses its input, does something that is not possible, or takes far more time or
     *     memory than such input can need
     */
    public Rendered render(Map<String, JsonNode> names, LocalDate today) {
        Map<String, Object> values = new LinkedHashMap<>();
        values.put("range", (Arguments.Callable) JinjaTemplate::range);
        values.put("namespace", (Arguments.Callable) given -> new Values.Namespace(given.named()));
        values.put("dict", (Arguments.Callable) given -> new LinkedHashMap<Object, Object>(given.named()));
        values.put("raise_exception", (Arguments.Callable) given -> {
            throw new JinjaException(given.text(0, "message"));
        });
        values.put("strftime_now", (Arguments.Callable) given -> dated(given.text(0, "format"), today));
        names.forEach((name, value) -> values.put(name, value(value)));
        Output out = new Output();
        try {
            body.render(Scope.of(values).inner(), out);
        } catch (StackOverflowError endless) {
            throw new JinjaException("macros call each other without an end, or values hold each other");
        } catch (ArithmeticException impossible) {
            throw new JinjaException("a number can't be computed: " + impossible.getMessage());
        }
        return new Rendered(out.toString(), out.generated());
    }

    private static Object value(JsonNode node) {
        if (node.isTextual()) {
            return node.textValue();
        }
        if (node.isBoolean()) {
            return node.booleanValue();
        }
        if (node.isIntegralNumber()) {
            return node.canConvertToLong() ? (Object) node.longValue() : node.bigIntegerValue();
        }
        if (node.isNumber()) {
            return node.doubleValue();
        }
        if (node.isArray()) {
            List<Object> items = new ArrayList<>();
            node.forEach(item -> items.add(value(item)));
            return items;
        }
        if (node.isObject()) {
            Map<Object, Object> map = new LinkedHashMap<>();
            node.properties().forEach(entry -> map.put(entry.getKey(), value(entry.getValue())));
            return map;
        }
        return Values.NONE;
    }

    private static List<Object> range(Arguments given) {
        boolean one = given.positional().size() == 1;
        long start = one ? 0 : Values.integer(given.required(0, "start"));
        long stop = Values.integer(given.required(one ? 0 : 1, "stop"));
        long step = given.has(2, "step") ? Values.integer(given.required(2, "step")) : 1;
        if (step == 0) {
            throw new JinjaException("range() arg 3 must not be zero");
        }
        long distance = Math.addExact(Math.subtractExact(stop, start), step - Long.signum(step));
        long count = Math.max(distance / step, 0);
        if (count > LONGEST_RANGE) {
            throw new JinjaException("range of %d; at most %d is possible".formatted(count, LONGEST_RANGE));
        }
        return LongStream.range(0, count)
                .mapToObj(i -> (Object) (start + i * step))
                .toList();
    }

    /** {@code strftime} in English. */
    private static String dated(String format, LocalDate today) {
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < format.length(); i++) {
            char c = format.charAt(i);
            if (c != '%' || i + 1 == format.length()) {
                out.append(c);
                continue;
            }
            char code = format.charAt(++i);
            boolean plain = code == '-' && i + 1 < format.length();
            code = plain ? format.charAt(++i) : code;
            String pattern = pattern(code);
            String written = pattern.startsWith("'")
                    ? pattern.substring(1)
                    : today.atStartOfDay().format(DateTimeFormatter.ofPattern(pattern, Locale.ENGLISH));
            out.append(plain ? written.replaceFirst("^0+(?=.)", "") : written);
        }
        return out.toString();
    }

    private static String pattern(char code) {
        return switch (code) {
            case 'a' -> "EEE";
            case 'A' -> "EEEE";
            case 'b', 'h' -> "MMM";
            case 'B' -> "MMMM";
            case 'd' -> "dd";
            case 'F' -> "yyyy-MM-dd";
            case 'H' -> "HH";
            case 'I' -> "hh";
            case 'j' -> "DDD";
            case 'm' -> "MM";
            case 'M' -> "mm";
            case 'p' -> "a";
            case 'S' -> "ss";
            case 'T' -> "HH:mm:ss";
            case 'y' -> "yy";
            case 'Y' -> "yyyy";
            case '%' -> "'%";
            default -> throw new JinjaException("strftime_now does not know %%%s".formatted(code));
        };
    }
}
