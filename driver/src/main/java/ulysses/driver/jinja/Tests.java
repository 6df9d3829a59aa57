package ulysses.driver.jinja;

import java.math.BigInteger;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/** {@code value is test}. */
final class Tests {

    /** One test. */
    @FunctionalInterface
    interface Test {
        boolean holds(Object value, Arguments given);
    }

    private static final Map<String, Test> TESTS = Map.ofEntries(
            Map.entry("boolean", (value, given) -> value instanceof Boolean),
            Map.entry("callable", (value, given) -> value instanceof Arguments.Callable),
            Map.entry("defined", (value, given) -> !(value instanceof Values.Undefined)),
            Map.entry("divisibleby", (value, given) -> Values.integer(value) % given.number(0, "num", 1) == 0),
            Map.entry("eq", Tests::equal),
            Map.entry("==", Tests::equal),
            Map.entry("equalto", Tests::equal),
            Map.entry("even", (value, given) -> Values.integer(value) % 2 == 0),
            Map.entry("false", (value, given) -> value.equals(false)),
            Map.entry("float", (value, given) -> value instanceof Double),
            Map.entry("ge", (value, given) -> compared(value, given) >= 0),
            Map.entry("gt", (value, given) -> compared(value, given) > 0),
            Map.entry("greaterthan", (value, given) -> compared(value, given) > 0),
            Map.entry("in", (value, given) -> Values.contains(given.effort().made(given.required(0, "seq")), value)),
            Map.entry("integer", (value, given) -> value instanceof Long || value instanceof BigInteger),
            Map.entry(
                    "iterable",
                    (value, given) -> value instanceof String
                            || value instanceof List
                            || value instanceof Map
                            || value instanceof Values.Undefined),
            Map.entry("le", (value, given) -> compared(value, given) <= 0),
            Map.entry(
                    "lower",
                    (value, given) ->
                            Values.text(value).equals(Values.text(value).toLowerCase(Locale.ROOT))),
            Map.entry("lt", (value, given) -> compared(value, given) < 0),
            Map.entry("lessthan", (value, given) -> compared(value, given) < 0),
            Map.entry("mapping", (value, given) -> value instanceof Map),
            Map.entry("ne", (value, given) -> !equal(value, given)),
            Map.entry("none", (value, given) -> value == Values.NONE),
            Map.entry("number", (value, given) -> value instanceof Number || value instanceof Boolean),
            Map.entry("odd", (value, given) -> Values.integer(value) % 2 != 0),
            Map.entry(
                    "sameas",
                    (value, given) -> value == given.required(0, "other")
                            || (value instanceof Boolean && value.equals(given.required(0, "other")))),
            Map.entry(
                    "sequence",
                    (value, given) -> value instanceof String || value instanceof List || value instanceof Map),
            Map.entry("string", (value, given) -> value instanceof String),
            Map.entry("true", (value, given) -> value.equals(true)),
            Map.entry("undefined", (value, given) -> value instanceof Values.Undefined),
            Map.entry(
                    "upper",
                    (value, given) ->
                            Values.text(value).equals(Values.text(value).toUpperCase(Locale.ROOT))));

    private Tests() {}

    /** The test of a name. */
    static Test named(String name) {
        Test test = TESTS.get(name);
        if (test == null) {
            throw new JinjaException("test %s is not known".formatted(name));
        }
        return test;
    }

    private static boolean equal(Object value, Arguments given) {
        given.effort().count(value);
        return Values.equal(value, given.required(0, "other"));
    }

    private static int compared(Object value, Arguments given) {
        given.effort().count(value);
        return Values.compare(value, given.required(0, "other"));
    }
}
