package ulysses.driver.jinja;

import java.math.BigInteger;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;

/**
 * Python's values in Java: String, Long (BigInteger beyond), Double, Boolean, List, Map with texts or other values as keys,
 * {@link #NONE}, {@link Undefined}, {@link Arguments.Callable}. Operations follow Python.
 */
final class Values {
    /** Python's None. */
    static final Object NONE = new Object() {
        @Override
        public String toString() {
            return "None";
        }
    };

    /** No argument was given. */
    static final Object UNSET = new Object();

    /**
     * A name without a value: empty as text, false as a condition.
     *
     * @param why for the message when more is asked of it
     */
    record Undefined(String why) {}

    /** A map whose entries a template may set: {@code namespace()}. */
    static final class Namespace extends LinkedHashMap<Object, Object> {
        private static final long serialVersionUID = 1L;

        Namespace(Map<String, Object> values) {
            super(values);
        }
    }

    private static final long LONGEST_REPETITION = 1_000_000; // chars

    private Values() {}

    static boolean isTrue(Object value) {
        if (value instanceof Boolean flag) {
            return flag;
        }
        if (value instanceof String text) {
            return !text.isEmpty();
        }
        if (value instanceof Number number) {
            return number.doubleValue() != 0;
        }
        if (value instanceof List<?> list) {
            return !list.isEmpty();
        }
        if (value instanceof Map<?, ?> map) {
            return !map.isEmpty();
        }
        return value != NONE && !(value instanceof Undefined);
    }

    /** {@code str(value)}. */
    static String text(Object value) {
        if (value instanceof String text) {
            return text;
        }
        return value instanceof Undefined ? "" : PythonText.repr(value);
    }

    static long integer(Object value) {
        if (value instanceof Boolean flag) {
            return flag ? 1 : 0;
        }
        if (value instanceof Long number) {
            return number;
        }
        throw notA("a whole number", value);
    }

    static JinjaException notA(String what, Object value) {
        return new JinjaException(
                value instanceof Undefined undefined
                        ? undefined.why()
                        : "%s is not %s".formatted(PythonText.shown(value), what));
    }

    /** What a loop goes over. */
    static List<Object> items(Object value) {
        if (value instanceof List<?> list) {
            return new ArrayList<>(list);
        }
        if (value instanceof Map<?, ?> map) {
            return new ArrayList<>(map.keySet());
        }
        if (value instanceof String text) {
            return new ArrayList<>(
                    text.codePoints().mapToObj(Character::toString).toList());
        }
        if (value instanceof Undefined) {
            return new ArrayList<>();
        }
        throw notA("something to loop over", value);
    }

    /** A key of a map; those of lists and maps would change with them, and Python has none. */
    static Object key(Object key) {
        if (key instanceof List || key instanceof Map) {
            throw notA("something that can be a key", key);
        }
        return key;
    }

    static int length(Object value) {
        return value instanceof String text
                ? text.codePointCount(0, text.length())
                : items(value).size();
    }

    static boolean equal(Object left, Object right) {
        if (isNumber(left) && isNumber(right)) {
            return (left instanceof Double || right instanceof Double)
                    ? real(left) == real(right)
                    : whole(left).equals(whole(right));
        }
        if (left instanceof List<?> one && right instanceof List<?> other) {
            return one.size() == other.size() && allEqual(one, other);
        }
        if (left instanceof Map<?, ?> one && right instanceof Map<?, ?> other) {
            return one.size() == other.size()
                    && one.entrySet().stream()
                            .allMatch(entry -> other.containsKey(entry.getKey())
                                    && equal(entry.getValue(), Objects.requireNonNull(other.get(entry.getKey()))));
        }
        return left instanceof Undefined ? right instanceof Undefined : left.equals(right);
    }

    private static boolean allEqual(List<?> one, List<?> other) {
        for (int i = 0; i < one.size(); i++) {
            if (!equal(one.get(i), other.get(i))) {
                return false;
            }
        }
        return true;
    }

    private static boolean isNumber(Object value) {
        return value instanceof Number || value instanceof Boolean;
    }

    static double real(Object value) {
        if (value instanceof Boolean flag) {
            return flag ? 1 : 0;
        }
        if (value instanceof Number number) {
            return number.doubleValue();
        }
        throw notA("a number", value);
    }

    private static BigInteger whole(Object value) {
        return value instanceof BigInteger large ? large : BigInteger.valueOf(integer(value));
    }

    static int compare(Object left, Object right) {
        if (left instanceof String one && right instanceof String other) {
            return one.compareTo(other);
        }
        if (left instanceof List<?> one && right instanceof List<?> other) {
            for (int i = 0; i < Math.min(one.size(), other.size()); i++) {
                int order = compare(one.get(i), other.get(i));
                if (order != 0) {
                    return order;
                }
            }
            return Integer.compare(one.size(), other.size());
        }
        return Double.compare(real(left), real(right));
    }

    static boolean contains(Object container, Object value) {
        if (container instanceof String text) {
            if (!(value instanceof String part)) {
                throw notA("text", value);
            }
            return text.contains(part);
        }
        if (container instanceof Map<?, ?> map) {
            return map.containsKey(key(value));
        }
        return items(container).stream().anyMatch(item -> equal(item, value));
    }

    static Object add(Object left, Object right) {
        if (left instanceof String one && right instanceof String other) {
            return one + other;
        }
        if (left instanceof List<?> one && right instanceof List<?> other) {
            List<Object> all = new ArrayList<>(one);
            all.addAll(other);
            return all;
        }
        return calculate("+", left, right);
    }

    static Object multiply(Object left, Object right) {
        if (left instanceof String text && right instanceof Long times) {
            return text.repeat(repetitions(text.length(), times));
        }
        if (left instanceof Long times && right instanceof String text) {
            return text.repeat(repetitions(text.length(), times));
        }
        return calculate("*", left, right);
    }

    private static int repetitions(int length, long times) {
        if (length > 0 && times > LONGEST_REPETITION / length) {
            throw new JinjaException("a text is repeated %d times; that is too long".formatted(times));
        }
        return length == 0 ? 0 : (int) Math.max(times, 0);
    }

    /** Arithmetic of numbers; whole ones stay whole but for division. */
    static Object calculate(String operator, Object left, Object right) {
        if (left instanceof Double || right instanceof Double || operator.equals("/")) {
            return calculate(operator, real(left), real(right));
        }
        long one = integer(left);
        long other = integer(right);
        if (other == 0 && (operator.equals("//") || operator.equals("%"))) {
            throw new JinjaException("division by zero");
        }
        return switch (operator) {
            case "+" -> Math.addExact(one, other);
            case "-" -> Math.subtractExact(one, other);
            case "*" -> Math.multiplyExact(one, other);
            case "//" -> Math.floorDiv(one, other);
            case "%" -> Math.floorMod(one, other);
            default -> {
                double power = Math.pow((double) one, (double) other);
                yield other < 0 ? (Object) power : (Object) (long) power;
            }
        };
    }

    private static double calculate(String operator, double one, double other) {
        if (other == 0 && List.of("/", "//", "%").contains(operator)) {
            throw new JinjaException("division by zero");
        }
        return switch (operator) {
            case "+" -> one + other;
            case "-" -> one - other;
            case "*" -> one * other;
            case "/" -> one / other;
            case "//" -> Math.floor(one / other);
            case "%" -> one - other * Math.floor(one / other);
            default -> Math.pow(one, other);
        };
    }

    static Object negative(Object value) {
        return value instanceof Double number ? (Object) (-number) : (Object) Math.negateExact(integer(value));
    }

    /** {@code value[key]}: an entry, else a method or attribute; undefined where there is neither. */
    static Object item(Object value, Object key) {
        if (value instanceof Map<?, ?> map) {
            Object found = key instanceof List || key instanceof Map ? null : map.get(key);
            return found != null
                    ? found
                    : key instanceof String name ? Methods.bound(value, name) : missing(value, key);
        }
        if (value instanceof List<?> list && (key instanceof Long || key instanceof Boolean)) {
            long index = integer(key) < 0 ? integer(key) + list.size() : integer(key);
            return index >= 0 && index < list.size() ? list.get((int) index) : missing(value, key);
        }
        if (value instanceof String text && (key instanceof Long || key instanceof Boolean)) {
            int[] points = text.codePoints().toArray();
            long index = integer(key) < 0 ? integer(key) + points.length : integer(key);
            return index >= 0 && index < points.length ? Character.toString(points[(int) index]) : missing(value, key);
        }
        if (value instanceof Undefined undefined) {
            throw new JinjaException(undefined.why());
        }
        return key instanceof String name ? Methods.bound(value, name) : missing(value, key);
    }

    /** {@code value.name}: a method, else an entry; undefined where there is neither. */
    static Object attribute(Object value, String name) {
        if (value instanceof Undefined undefined) {
            throw new JinjaException(undefined.why());
        }
        Object method = value instanceof Namespace ? missing(value, name) : Methods.bound(value, name);
        if (method instanceof Undefined && value instanceof Map<?, ?> map) {
            Object found = map.get(name);
            return found == null ? method : found;
        }
        return method;
    }

    static Undefined missing(Object value, Object key) {
        return new Undefined("%s has no %s".formatted(PythonText.shown(value), PythonText.shown(key)));
    }

    /** {@code value[start:stop:step]}; {@link #NONE} is left out. */
    static Object slice(Object value, Object start, Object stop, Object step) {
        if (value instanceof String text) {
            List<Object> points = slice(items(text), start, stop, step);
            StringBuilder joined = new StringBuilder();
            points.forEach(joined::append);
            return joined.toString();
        }
        if (value instanceof List<?> list) {
            return slice(new ArrayList<Object>(list), start, stop, step);
        }
        throw notA("a text or list to cut", value);
    }

    private static List<Object> slice(List<Object> items, Object start, Object stop, Object step) {
        long by = step == NONE ? 1 : integer(step);
        if (by == 0) {
            throw new JinjaException("slice step cannot be zero");
        }
        int size = items.size();
        long lowest = by > 0 ? 0 : -1;
        long highest = by > 0 ? size : size - 1L;
        long from = bound(start, by > 0 ? 0 : highest, size, lowest, highest);
        long to = bound(stop, by > 0 ? highest : -1, size, lowest, highest);
        List<Object> cut = new ArrayList<>();
        for (long i = from; by > 0 ? i < to : i > to; i += by) {
            cut.add(items.get((int) i));
        }
        return cut;
    }

    private static long bound(Object given, long absent, int size, long lowest, long highest) {
        if (given == NONE) {
            return absent;
        }
        long index = integer(given) < 0 ? integer(given) + size : integer(given);
        return Math.max(lowest, Math.min(highest, index));
    }
}
