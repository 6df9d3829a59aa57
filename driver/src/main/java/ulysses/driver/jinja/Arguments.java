package ulysses.driver.jinja;

import java.util.List;
import java.util.Map;

/**
 * What a filter, test, method, macro or function is called with.
 *
 * @param positional in order
 * @param named by name
 * @param effort what the run may still cost
 */
record Arguments(List<Object> positional, Map<String, Object> named, Effort effort) {

    /** Something that can be called. */
    @FunctionalInterface
    interface Callable {
        Object call(Arguments arguments);
    }

    /** An argument by place or name. */
    Object get(int place, String name, Object absent) {
        return place < positional.size() ? positional.get(place) : named.getOrDefault(name, absent);
    }

    Object required(int place, String name) {
        Object value = get(place, name, Values.UNSET);
        if (value == Values.UNSET) {
            throw new JinjaException("argument %s is missing".formatted(name));
        }
        return value;
    }

    boolean has(int place, String name) {
        return place < positional.size() || named.containsKey(name);
    }

    String text(int place, String name) {
        return Values.text(required(place, name));
    }

    String text(int place, String name, String absent) {
        return has(place, name) ? text(place, name) : absent;
    }

    int number(int place, String name, int absent) {
        return has(place, name) ? Math.toIntExact(Values.integer(required(place, name))) : absent;
    }

    boolean flag(int place, String name) {
        return has(place, name) && Values.isTrue(required(place, name));
    }

    /** Those behind the first ones. */
    Arguments from(int place) {
        return new Arguments(positional.subList(Math.min(place, positional.size()), positional.size()), named, effort);
    }

    /** No arguments, in the same run. */
    Arguments none() {
        return new Arguments(List.of(), Map.of(), effort);
    }
}
