package ulysses.driver.jinja;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.StringJoiner;
import java.util.function.IntPredicate;
import java.util.function.Predicate;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import ulysses.driver.jinja.Arguments.Callable;

/** The methods of texts, maps and lists that templates may call; those that would change a value are not among them. */
final class Methods {
    private static final Pattern PLACE = Pattern.compile("\\d{1,9}");
    private static final Pattern FIELD = Pattern.compile("\\{\\{|\\}\\}|\\{(\\w*)\\}");

    private Methods() {}

    /** A method of a value, ready to be called; undefined for an unknown one. */
    static Object bound(Object value, String name) {
        Callable method = null;
        if (value instanceof String text) {
            method = ofText(text, name);
        } else if (value instanceof Map<?, ?> map) {
            method = ofMap(map, name);
        } else if (value instanceof List<?> list) {
            method = ofList(list, name);
        }
        return method == null ? Values.missing(value, name) : counted(value, method);
    }

    /** A method may go over all that its value holds. */
    private static Callable counted(Object value, Callable method) {
        return given -> {
            given.effort().glance(value);
            return method.call(given);
        };
    }

    private static @Nullable Callable ofText(String text, String name) {
        return switch (name) {
            case "strip" -> given -> strip(text, given, true, true);
            case "lstrip" -> given -> strip(text, given, true, false);
            case "rstrip" -> given -> strip(text, given, false, true);
            case "split" -> given -> split(text, given);
            case "rsplit" -> given -> splitFromEnd(text, given);
            case "splitlines" -> given -> lines(text, given.flag(0, "keepends"));
            case "partition" -> given -> partition(text, given.text(0, "sep"), text.indexOf(given.text(0, "sep")));
            case "rpartition" -> given -> partition(text, given.text(0, "sep"), text.lastIndexOf(given.text(0, "sep")));
            case "startswith" -> given -> any(given, text::startsWith);
            case "endswith" -> given -> any(given, text::endsWith);
            case "removeprefix" ->
                given -> text.startsWith(given.text(0, "prefix"))
                        ? text.substring(given.text(0, "prefix").length())
                        : text;
            case "removesuffix" ->
                given -> text.endsWith(given.text(0, "suffix"))
                        ? text.substring(
                                0, text.length() - given.text(0, "suffix").length())
                        : text;
            case "upper" -> given -> text.toUpperCase(Locale.ROOT);
            case "lower" -> given -> text.toLowerCase(Locale.ROOT);
            case "title" -> given -> title(text);
            case "capitalize" -> given -> capitalized(text);
            case "replace" -> given -> replace(text, given);
            case "join" -> given -> join(text, given);
            case "find" -> given -> (long) text.indexOf(given.text(0, "sub"));
            case "rfind" -> given -> (long) text.lastIndexOf(given.text(0, "sub"));
            case "index" -> given -> index(text, given.text(0, "sub"));
            case "count" ->
                given -> (long) (text.length()
                                - text.replace(given.text(0, "sub"), "").length())
                        / Math.max(given.text(0, "sub").length(), 1);
            case "isdigit", "isnumeric", "isdecimal" -> given -> all(text, Character::isDigit);
            case "isalpha" -> given -> all(text, Character::isLetter);
            case "isalnum" -> given -> all(text, Character::isLetterOrDigit);
            case "isspace" -> given -> all(text, Methods::isSpace);
            case "isupper" ->
                given -> !text.equals(text.toLowerCase(Locale.ROOT)) && text.equals(text.toUpperCase(Locale.ROOT));
            case "islower" ->
                given -> !text.equals(text.toUpperCase(Locale.ROOT)) && text.equals(text.toLowerCase(Locale.ROOT));
            case "zfill" ->
                given -> {
                    int zeros = Math.max(given.number(0, "width", 0) - text.length(), 0);
                    given.effort().spend(zeros);
                    return "0".repeat(zeros) + text;
                };
            case "format" -> given -> format(text, given);
            case "encode", "decode" ->
                given -> {
                    throw new JinjaException("bytes are not supported");
                };
            default -> null;
        };
    }

    private static @Nullable Callable ofMap(Map<?, ?> map, String name) {
        return switch (name) {
            case "items" ->
                given -> map.entrySet().stream()
                        .map(entry -> (Object) List.of(entry.getKey(), entry.getValue()))
                        .toList();
            case "keys" -> given -> new ArrayList<Object>(map.keySet());
            case "values" -> given -> new ArrayList<Object>(map.values());
            case "get" ->
                given -> {
                    Object found = map.get(Values.key(given.required(0, "key")));
                    return found == null ? given.get(1, "default", Values.NONE) : found;
                };
            case "copy" -> given -> new LinkedHashMap<Object, Object>(map);
            default -> null;
        };
    }

    private static @Nullable Callable ofList(List<?> list, String name) {
        return switch (name) {
            case "index" ->
                given -> {
                    for (int i = 0; i < list.size(); i++) {
                        if (Values.equal(list.get(i), given.required(0, "value"))) {
                            return (long) i;
                        }
                    }
                    throw Values.notA("in the list", given.required(0, "value"));
                };
            case "count" ->
                given -> list.stream()
                        .filter(item -> Values.equal(item, given.required(0, "value")))
                        .count();
            case "copy" -> given -> new ArrayList<Object>(list);
            default -> null;
        };
    }

    /** {@code strip}, of white space or of given characters. */
    static String strip(String text, Arguments given, boolean left, boolean right) {
        Object characters = given.get(0, "chars", Values.NONE);
        IntPredicate stripped = characters == Values.NONE
                ? Methods::isSpace
                : Values.text(characters).codePoints().boxed().collect(Collectors.toSet())::contains;
        int start = 0;
        int end = text.length();
        while (left && start < end && stripped.test(text.codePointAt(start))) {
            start += Character.charCount(text.codePointAt(start));
        }
        while (right && end > start && stripped.test(text.codePointBefore(end))) {
            end -= Character.charCount(text.codePointBefore(end));
        }
        return text.substring(start, end);
    }

    private static boolean isSpace(int c) {
        return Character.isWhitespace(c) || Character.isSpaceChar(c) || c == 0x85;
    }

    private static boolean all(String text, IntPredicate test) {
        return !text.isEmpty() && text.codePoints().allMatch(test);
    }

    private static List<Object> split(String text, Arguments given) {
        int most = given.number(1, "maxsplit", -1);
        Object separator = given.get(0, "sep", Values.NONE);
        List<Object> parts = new ArrayList<>();
        if (separator == Values.NONE) {
            int start = behind(text, 0, true);
            while (start < text.length()) {
                int end = behind(text, start, false);
                boolean last = parts.size() == most;
                parts.add(last ? strip(text.substring(start), given.none(), false, true) : text.substring(start, end));
                start = last ? text.length() : behind(text, end, true);
            }
            return parts;
        }
        String between = separator(separator);
        int from = 0;
        for (int at = text.indexOf(between); at >= 0 && parts.size() != most; at = text.indexOf(between, from)) {
            parts.add(text.substring(from, at));
            from = at + between.length();
        }
        parts.add(text.substring(from));
        return parts;
    }

    /** The first place from {@code at} on that holds something else than white space, or than what is none. */
    private static int behind(String text, int at, boolean space) {
        int place = at;
        while (place < text.length() && isSpace(text.codePointAt(place)) == space) {
            place += Character.charCount(text.codePointAt(place));
        }
        return place;
    }

    private static List<Object> splitFromEnd(String text, Arguments given) {
        int most = given.number(1, "maxsplit", -1);
        if (most < 0 || given.get(0, "sep", Values.NONE) == Values.NONE) {
            return split(text, given);
        }
        String between = separator(given.required(0, "sep"));
        List<Object> parts = new ArrayList<>();
        int to = text.length();
        for (int at = text.lastIndexOf(between); at >= 0 && parts.size() != most; ) {
            parts.add(text.substring(at + between.length(), to));
            to = at;
            at = at == 0 ? -1 : text.lastIndexOf(between, at - between.length());
        }
        parts.add(text.substring(0, to));
        Collections.reverse(parts);
        return parts;
    }

    private static String separator(Object separator) {
        String between = Values.text(separator);
        if (between.isEmpty()) {
            throw new JinjaException("empty separator");
        }
        return between;
    }

    private static List<Object> lines(String text, boolean keepsEnds) {
        List<Object> lines = new ArrayList<>();
        Matcher line = Pattern.compile("([^\\r\\n]*)(\\r\\n|\\r|\\n|$)").matcher(text);
        while (line.find() && line.start() < text.length()) {
            lines.add(keepsEnds ? line.group() : line.group(1));
        }
        return lines;
    }

    private static List<Object> partition(String text, String separator, int at) {
        return at < 0
                ? List.of(text, "", "")
                : List.of(text.substring(0, at), separator, text.substring(at + separator.length()));
    }

    private static Boolean any(Arguments given, Predicate<String> test) {
        Object wanted = given.required(0, "prefix");
        return wanted instanceof List<?> several
                ? several.stream().map(Values::text).anyMatch(test)
                : test.test(Values.text(wanted));
    }

    static String replace(String text, Arguments given) {
        String old = given.text(0, "old");
        String other = given.text(1, "new");
        int most = given.get(2, "count", Values.NONE) == Values.NONE ? -1 : given.number(2, "count", -1);
        StringBuilder replaced = new StringBuilder();
        int from = 0;
        for (int i = 0; i != most; i++) {
            int at = text.indexOf(old, from);
            if (at < 0) {
                break;
            }
            given.effort().spend(1L + at - from + other.length());
            replaced.append(text, from, at).append(other);
            from = at + old.length();
            if (old.isEmpty()) { // between any two chars, before the first and behind the last
                if (from == text.length()) {
                    break;
                }
                replaced.append(text.charAt(from++));
            }
        }
        return replaced.append(text, from, text.length()).toString();
    }

    private static String join(String between, Arguments given) {
        StringJoiner joined = new StringJoiner(between);
        for (Object item : Values.items(given.required(0, "iterable"))) {
            if (!(item instanceof String text)) {
                throw Values.notA("text to join", item);
            }
            given.effort().spend((long) between.length() + text.length());
            joined.add(text);
        }
        return joined.toString();
    }

    private static Long index(String text, String part) {
        int at = text.indexOf(part);
        if (at < 0) {
            throw new JinjaException("substring not found");
        }
        return (long) at;
    }

    static String capitalized(String text) {
        if (text.isEmpty()) {
            return text;
        }
        int first = text.offsetByCodePoints(0, 1);
        return text.substring(0, first).toUpperCase(Locale.ROOT)
                + text.substring(first).toLowerCase(Locale.ROOT);
    }

    static String title(String text) {
        StringBuilder title = new StringBuilder();
        boolean inWord = false;
        for (int c : text.codePoints().toArray()) {
            title.appendCodePoint(inWord ? Character.toLowerCase(c) : Character.toTitleCase(c));
            inWord = Character.isLetter(c);
        }
        return title.toString();
    }

    /** {@code str.format} with plain fields. */
    private static String format(String text, Arguments given) {
        int[] next = {0};
        return FIELD.matcher(text).replaceAll(field -> {
            if (field.group(1) == null) {
                return Matcher.quoteReplacement(field.group().substring(1));
            }
            String name = field.group(1);
            boolean counted = PLACE.matcher(name).matches();
            int place = name.isEmpty() ? next[0]++ : counted ? Integer.parseInt(name) : Integer.MAX_VALUE;
            String value = Values.text(given.required(place, name));
            given.effort().spend(value.length());
            return Matcher.quoteReplacement(value);
        });
    }
}
