package ulysses.driver.jinja;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.DoubleNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.TextNode;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import ulysses.driver.dataset.PythonJson;

/** Values as Python writes them: {@code repr} and {@code json.dumps}. */
final class PythonText {
    private static final int LONGEST = 1 << 26;
    private static final int SHOWN = 100;

    private PythonText() {}

    static String repr(Object value) {
        StringBuilder out = new StringBuilder();
        write(out, value, LONGEST);
        if (out.length() > LONGEST) {
            throw new JinjaException("a value is longer than %d characters".formatted(LONGEST));
        }
        return out.toString();
    }

    /** The beginning of a value, for messages. */
    static String shown(Object value) {
        StringBuilder out = new StringBuilder();
        write(out, value, SHOWN);
        return out.length() <= SHOWN ? out.toString() : out.substring(0, SHOWN) + "...";
    }

    /** Writes a value until there are more than {@code most} chars: what holds itself would never end. */
    private static void write(StringBuilder out, Object value, int most) {
        if (value instanceof String text) {
            int room = Math.max(most - out.length(), 0) + 1;
            String part = text.length() <= room ? text : text.substring(0, room);
            String inList = PythonJson.str(JsonNodeFactory.instance.arrayNode().add(part));
            out.append(inList, 1, inList.length() - 1);
        } else if (value instanceof Boolean flag) {
            out.append(flag ? "True" : "False");
        } else if (value instanceof Double number) {
            out.append(PythonJson.str(DoubleNode.valueOf(number)));
        } else if (value instanceof List<?> list) {
            String between = "[";
            for (Object item : list) {
                if (out.length() > most) {
                    return;
                }
                write(out.append(between), item, most);
                between = ", ";
            }
            out.append(list.isEmpty() ? "[]" : "]");
        } else if (value instanceof Map<?, ?> map) {
            String between = "{";
            for (Map.Entry<?, ?> entry : map.entrySet()) {
                if (out.length() > most) {
                    return;
                }
                write(out.append(between), entry.getKey(), most);
                write(out.append(": "), entry.getValue(), most);
                between = ", ";
            }
            out.append(map.isEmpty() ? "{}" : "}");
        } else {
            out.append(value instanceof Values.Undefined ? "Undefined" : value.toString());
        }
    }

    /**
     * How {@code tojson} writes.
     *
     * @param ascii whether other characters are escaped
     * @param indent blanks of a level; negative writes one line
     * @param between after an item
     * @param colon after a key
     * @param sorted whether keys are in order
     */
    record Style(boolean ascii, int indent, String between, String colon, boolean sorted) {

        /** From the arguments of {@code tojson}; transformers changes the defaults to these. */
        static Style of(Arguments arguments) {
            Object indent = arguments.get(1, "indent", Values.NONE);
            boolean lines = indent != Values.NONE;
            Object separators = arguments.get(2, "separators", Values.NONE);
            List<Object> given = separators == Values.NONE ? List.of() : Values.items(separators);
            return new Style(
                    arguments.flag(0, "ensure_ascii"),
                    lines ? Math.toIntExact(Values.integer(indent)) : -1,
                    given.size() == 2 ? Values.text(given.get(0)) : lines ? "," : ", ",
                    given.size() == 2 ? Values.text(given.get(1)) : ": ",
                    arguments.flag(3, "sort_keys"));
        }

        /** Chars between two items. */
        private long blanks(int level) {
            return (long) between.length() + colon.length() + Math.max(indent, 0) * (long) level;
        }
    }

    static String json(Object value, Style style, Effort effort) {
        StringBuilder out = new StringBuilder();
        write(out, value, style, 1, effort);
        return out.toString();
    }

    private static void write(StringBuilder out, Object value, Style style, int level, Effort effort) {
        effort.step();
        if (value instanceof List<?> list) {
            effort.spend(style.blanks(level), list.size() + 1L);
            List<Runnable> items = new ArrayList<>();
            list.forEach(item -> items.add(() -> write(out, item, style, level + 1, effort)));
            write(out, "[]", items, style, level);
        } else if (value instanceof Map<?, ?> map) {
            effort.spend(style.blanks(level), map.size() + 1L);
            List<Runnable> items = new ArrayList<>();
            ordered(map, style)
                    .forEach((key, item) -> items.add(() -> {
                        effort.spend(key.length());
                        out.append(string(key, style)).append(style.colon());
                        write(out, item, style, level + 1, effort);
                    }));
            write(out, "{}", items, style, level);
        } else if (value instanceof String text) {
            effort.spend(text.length());
            out.append(string(text, style));
        } else if (value instanceof Double number) {
            out.append(PythonJson.write(DoubleNode.valueOf(number)));
        } else if (value == Values.NONE) {
            out.append("null");
        } else if (value instanceof Boolean || value instanceof Number) {
            out.append(value);
        } else {
            throw Values.notA("something that can be written as JSON", value);
        }
    }

    private static Map<String, Object> ordered(Map<?, ?> map, Style style) {
        Map<String, Object> ordered = style.sorted() ? new TreeMap<>() : new LinkedHashMap<>();
        map.forEach((key, item) -> ordered.put(Values.text(key), item));
        return ordered;
    }

    private static void write(StringBuilder out, String brackets, List<Runnable> items, Style style, int level) {
        boolean lines = style.indent() >= 0 && !items.isEmpty();
        out.append(brackets.charAt(0));
        for (int i = 0; i < items.size(); i++) {
            out.append(i == 0 ? "" : style.between());
            out.append(lines ? "\n" + " ".repeat(style.indent() * level) : "");
            items.get(i).run();
        }
        out.append(lines ? "\n" + " ".repeat(style.indent() * (level - 1)) : "").append(brackets.charAt(1));
    }

    private static String string(String text, Style style) {
        JsonNode node = TextNode.valueOf(text);
        String written = PythonJson.write(node);
        if (!style.ascii()) {
            return written;
        }
        StringBuilder ascii = new StringBuilder();
        for (int i = 0; i < written.length(); i++) {
            char c = written.charAt(i);
            ascii.append(c < 0x80 ? String.valueOf(c) : "\\u%04x".formatted((int) c));
        }
        return ascii.toString();
    }
}
