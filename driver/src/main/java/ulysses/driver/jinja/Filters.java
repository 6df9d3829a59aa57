package ulysses.driver.jinja;

import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.function.Predicate;
import java.util.function.UnaryOperator;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;

/** {@code value | filter(...)}. */
final class Filters {

    /** One filter. */
    @FunctionalInterface
    interface Filter {
        Object apply(Object value, Arguments given);
    }

    private static final Map<String, Filter> FILTERS = Map.ofEntries(
            Map.entry("abs", (value, given) -> Values.real(value) < 0 ? Values.negative(value) : value),
            Map.entry("attr", (value, given) -> Values.attribute(value, given.text(0, "name"))),
            Map.entry("batch", Filters::batch),
            Map.entry("capitalize", (value, given) -> Methods.capitalized(Values.text(value))),
            Map.entry("count", (value, given) -> (long) Values.length(value)),
            Map.entry("d", Filters::orDefault),
            Map.entry("default", Filters::orDefault),
            Map.entry("dictsort", (value, given) -> sorted(pairs(value), given, pair -> Values.item(pair, 0L))),
            Map.entry("e", (value, given) -> escaped(Values.text(value))),
            Map.entry("escape", (value, given) -> escaped(Values.text(value))),
            Map.entry(
                    "first",
                    (value, given) -> Values.length(value) == 0
                            ? none(value)
                            : Values.items(value).get(0)),
            Map.entry("float", (value, given) -> number(value, given.get(0, "default", 0.0), true)),
            Map.entry("indent", Filters::indented),
            Map.entry("int", (value, given) -> number(value, given.get(0, "default", 0L), false)),
            Map.entry("items", (value, given) -> value instanceof Values.Undefined ? List.of() : pairs(value)),
            Map.entry("join", Filters::joined),
            Map.entry(
                    "last",
                    (value, given) -> Values.length(value) == 0
                            ? none(value)
                            : Values.items(value).get(Values.length(value) - 1)),
            Map.entry("length", (value, given) -> (long) Values.length(value)),
            Map.entry("list", (value, given) -> Values.items(value)),
            Map.entry("lower", (value, given) -> Values.text(value).toLowerCase(Locale.ROOT)),
            Map.entry("map", Filters::mapped),
            Map.entry(
                    "max",
                    (value, given) -> sorted(Values.items(value), given.none(), item -> item).stream()
                            .reduce(none(value), (one, other) -> other)),
            Map.entry(
                    "min",
                    (value, given) -> sorted(Values.items(value), given.none(), item -> item).stream()
                            .findFirst()
                            .orElse(none(value))),
            Map.entry("reject", (value, given) -> kept(value, test(given, 0).negate())),
            Map.entry(
                    "rejectattr",
                    (value, given) -> kept(value, ofAttribute(given).negate())),
            Map.entry("replace", (value, given) -> Methods.replace(Values.text(value), given)),
            Map.entry("reverse", Filters::reversed),
            Map.entry("round", Filters::rounded),
            Map.entry("safe", (value, given) -> Values.text(value)),
            Map.entry("select", (value, given) -> kept(value, test(given, 0))),
            Map.entry("selectattr", (value, given) -> kept(value, ofAttribute(given))),
            Map.entry(
                    "sort",
                    (value, given) ->
                            sorted(Values.items(value), given, by(given.named().get("attribute")))),
            Map.entry("string", (value, given) -> Values.text(value)),
            Map.entry("sum", Filters::sum),
            Map.entry("title", (value, given) -> Methods.title(Values.text(value))),
            Map.entry("tojson", (value, given) -> PythonText.json(value, PythonText.Style.of(given), given.effort())),
            Map.entry("trim", (value, given) -> Methods.strip(Values.text(value), given, true, true)),
            Map.entry("unique", Filters::unique),
            Map.entry("upper", (value, given) -> Values.text(value).toUpperCase(Locale.ROOT)),
            Map.entry("wordcount", (value, given) -> (long) Values.length(
                    ((Arguments.Callable) Methods.bound(Values.text(value), "split")).call(given.none()))));

    private static final Pattern PLACE = Pattern.compile("\\d{1,18}");

    private Filters() {}

    /** The filter of a name. */
    static Filter named(String name) {
        Filter filter = FILTERS.get(name);
        if (filter == null) {
            throw new JinjaException("filter %s is not known".formatted(name));
        }
        return filter;
    }

    private static Values.Undefined none(Object value) {
        return Values.missing(value, "an item");
    }

    private static Object orDefault(Object value, Arguments given) {
        boolean replaced = value instanceof Values.Undefined || (given.flag(1, "boolean") && !Values.isTrue(value));
        return replaced ? given.get(0, "default_value", "") : value;
    }

    private static List<Object> pairs(Object value) {
        if (!(value instanceof Map<?, ?> map)) {
            throw Values.notA("a map", value);
        }
        List<Object> pairs = new ArrayList<>();
        map.forEach((key, item) -> pairs.add(List.of(key, item)));
        return pairs;
    }

    private static String escaped(String text) {
        return text.replace("&", "&amp;")
                .replace(">", "&gt;")
                .replace("<", "&lt;")
                .replace("'", "&#39;")
                .replace("\"", "&#34;");
    }

    private static Object number(Object value, Object absent, boolean real) {
        try {
            if (value instanceof String text) {
                return real
                        ? (Object) Double.parseDouble(text.strip())
                        : (Object) (long) Double.parseDouble(text.strip().replace("_", ""));
            }
            return real ? (Object) Values.real(value) : (Object) (long) Values.real(value);
        } catch (NumberFormatException | JinjaException none) {
            return absent;
        }
    }

    private static Object indented(Object value, Arguments given) {
        Object width = given.get(0, "width", 4L);
        given.effort().spend(width instanceof String ? 0 : Math.max(Values.integer(width), 0));
        String blanks = width instanceof String text ? text : " ".repeat((int) Math.max(Values.integer(width), 0));
        boolean blank = given.flag(2, "blank");
        String[] lines = Values.text(value).split("\n", -1);
        given.effort().spend(lines.length, blanks.length());
        StringBuilder out = new StringBuilder();
        for (int i = 0; i < lines.length; i++) {
            boolean moved = i == 0 ? given.flag(1, "first") : blank || !lines[i].isEmpty();
            out.append(i == 0 ? "" : "\n").append(moved ? blanks : "").append(lines[i]);
        }
        return out.toString();
    }

    private static Object joined(Object value, Arguments given) {
        UnaryOperator<Object> item = by(given.get(1, "attribute", Values.NONE));
        String between = given.text(0, "d", "");
        return Values.items(value).stream()
                .map(one -> Values.text(item.apply(one)))
                .peek(text -> given.effort().spend((long) text.length() + between.length()))
                .collect(Collectors.joining(between));
    }

    private static Object mapped(Object value, Arguments given) {
        if (given.named().containsKey("attribute")) {
            Object absent = given.named().getOrDefault("default", Values.UNSET);
            UnaryOperator<Object> attribute = by(given.named().get("attribute"));
            return Values.items(value).stream()
                    .map(attribute)
                    .map(found -> found instanceof Values.Undefined && absent != Values.UNSET ? absent : found)
                    .collect(Collectors.toCollection(ArrayList::new));
        }
        Filter filter = named(given.text(0, "filter"));
        return Values.items(value).stream()
                .map(item -> given.effort().made(filter.apply(item, given.from(1))))
                .collect(Collectors.toCollection(ArrayList::new));
    }

    /** An attribute by a path with dots; the value itself where none is named. */
    private static UnaryOperator<Object> by(@Nullable Object attribute) {
        if (attribute == null || attribute == Values.NONE) {
            return value -> value;
        }
        return value -> {
            Object found = value;
            for (String step : Values.text(attribute).split("\\.", -1)) {
                found = Values.item(found, PLACE.matcher(step).matches() ? (Object) Long.parseLong(step) : step);
            }
            return found;
        };
    }

    private static Predicate<Object> test(Arguments given, int place) {
        if (!given.has(place, "test")) {
            return Values::isTrue;
        }
        Tests.Test test = Tests.named(given.text(place, "test"));
        Arguments rest = given.from(place + 1);
        return value -> test.holds(value, rest);
    }

    private static Predicate<Object> ofAttribute(Arguments given) {
        UnaryOperator<Object> attribute = by(given.required(0, "attribute"));
        Predicate<Object> test = test(given, 1);
        return value -> test.test(attribute.apply(value));
    }

    private static List<Object> kept(Object value, Predicate<Object> test) {
        return Values.items(value).stream().filter(test).collect(Collectors.toCollection(ArrayList::new));
    }

    private static Object reversed(Object value, Arguments given) {
        if (value instanceof String text) {
            return new StringBuilder(text).reverse().toString();
        }
        List<Object> items = Values.items(value);
        Collections.reverse(items);
        return items;
    }

    private static Object rounded(Object value, Arguments given) {
        double factor = Math.pow(10, given.number(0, "precision", 0));
        double scaled = Values.real(value) * factor;
        String method = given.text(1, "method", "common");
        double whole = method.equals("ceil")
                ? Math.ceil(scaled)
                : method.equals("floor") ? Math.floor(scaled) : Math.rint(scaled);
        return whole / factor;
    }

    private static List<Object> sorted(List<Object> items, Arguments given, UnaryOperator<Object> key) {
        boolean backwards = given.named().containsKey("reverse")
                && Values.isTrue(given.named().get("reverse"));
        boolean exact = given.flag(given.named().containsKey("reverse") ? 0 : 1, "case_sensitive");
        Comparator<Object> order =
                (one, other) -> Values.compare(folded(key.apply(one), exact), folded(key.apply(other), exact));
        items.sort(backwards ? order.reversed() : order);
        return items;
    }

    private static Object folded(Object value, boolean exact) {
        return value instanceof String text && !exact ? text.toLowerCase(Locale.ROOT) : value;
    }

    private static Object sum(Object value, Arguments given) {
        UnaryOperator<Object> attribute = by(given.get(0, "attribute", Values.NONE));
        Object sum = given.get(1, "start", 0L);
        for (Object item : Values.items(value)) {
            sum = Values.add(sum, attribute.apply(item));
        }
        return sum;
    }

    private static Object unique(Object value, Arguments given) {
        List<Object> unique = new ArrayList<>();
        for (Object item : Values.items(value)) {
            given.effort().spend(unique.size());
            if (unique.stream().noneMatch(other -> Values.equal(folded(other, false), folded(item, false)))) {
                unique.add(item);
            }
        }
        return unique;
    }

    private static Object batch(Object value, Arguments given) {
        int size = given.number(0, "linecount", 1);
        if (size < 1) {
            throw new JinjaException("batches of %d items are not possible".formatted(size));
        }
        List<Object> items = Values.items(value);
        List<Object> batches = new ArrayList<>();
        for (int from = 0; from < items.size(); from += size) {
            batches.add(new ArrayList<>(items.subList(from, Math.min(from + size, items.size()))));
        }
        return batches;
    }
}
