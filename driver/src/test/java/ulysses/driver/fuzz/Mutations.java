package ulysses.driver.fuzz;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ContainerNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.regex.MatchResult;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * Damaged copies of valid files, by a seed: bits and bytes, lengths, cuts; in text other values, nesting, huge numbers and words out of
 * place; in JSON nodes of another kind, twice, or gone.
 */
final class Mutations {
    private static final List<String> VALUES = List.of(
            "-1",
            "0",
            "1",
            "2147483648",
            "9223372036854775807",
            "-9223372036854775809",
            "1e999",
            "1e-999",
            "0.5",
            "NaN",
            "null",
            "true",
            "[]",
            "{}",
            "\"\"",
            "\"../../../etc/passwd\"",
            "\"\\u0000\"",
            "\"\\ud800\"",
            "[[[[[[[[]]]]]]]]",
            "9".repeat(400),
            "\"" + "x".repeat(5000) + "\"",
            "[".repeat(3000),
            "{\"a\":".repeat(3000));
    private static final Pattern VALUE = Pattern.compile("\"[^\"\\\\]{0,80}\"|-?\\d+(\\.\\d+)?|true|false|null");
    private static final long[] LENGTHS = {
        -1, 0, 1, 7, 255, 65_535, Integer.MAX_VALUE, 1L << 31, 1L << 33, Long.MAX_VALUE, Long.MIN_VALUE
    };

    private static final Pattern NAME = Pattern.compile("[A-Za-z_][A-Za-z0-9_.]{2,40}");
    private static final ObjectMapper JSON = new ObjectMapper();

    private final Random random;
    private final List<String> words;

    /** The mutations of {@code seed}; {@code words} may be put into texts. */
    Mutations(long seed, List<String> words) {
        this.random = new Random(seed);
        this.words = words;
    }

    /** Names that a text holds. */
    static List<String> namesIn(String text) {
        return NAME.matcher(text).results().map(MatchResult::group).distinct().toList();
    }

    /** One to three changes of {@code valid}. */
    byte[] of(byte[] valid) {
        byte[] changed = valid.clone();
        for (int i = random.nextInt(3); i >= 0; i--) {
            changed = once(changed);
        }
        return changed;
    }

    private byte[] once(byte[] bytes) {
        if (bytes.length == 0) {
            return new byte[] {(byte) random.nextInt()};
        }
        int at = random.nextInt(bytes.length);
        int kind = random.nextInt(12);
        if (kind < 2 && !words.isEmpty()) {
            return word(bytes, at);
        }
        if (kind < 4 && isJson(bytes)) {
            return node(bytes);
        }
        return switch (kind - 4) {
            case 0 -> bit(bytes, at);
            case 1 -> special(bytes, at);
            case 2 -> Arrays.copyOf(bytes, at);
            case 3 -> length(bytes, random.nextBoolean() ? at : random.nextInt(Math.min(64, bytes.length)));
            case 4 -> join(Arrays.copyOf(bytes, at), tail(bytes, Math.min(bytes.length, at + 1 + random.nextInt(16))));
            case 5 -> join(Arrays.copyOf(bytes, Math.min(bytes.length, at + 1 + random.nextInt(64))), tail(bytes, at));
            default -> value(bytes);
        };
    }

    private static boolean isJson(byte[] bytes) {
        int first = 0;
        while (first < bytes.length && bytes[first] <= ' ' && bytes[first] >= 0) {
            first++;
        }
        return first < bytes.length && (bytes[first] == '{' || bytes[first] == '[');
    }

    /** Puts a word in, or in the place of a name that is there. */
    private byte[] word(byte[] bytes, int at) {
        String text = new String(bytes, StandardCharsets.ISO_8859_1);
        String word = words.get(random.nextInt(words.size()));
        Matcher name = NAME.matcher(text);
        boolean replaced = random.nextBoolean() && name.find(at);
        String changed = replaced
                ? text.substring(0, name.start()) + word + text.substring(name.end())
                : text.substring(0, at) + word + text.substring(at);
        return changed.getBytes(StandardCharsets.ISO_8859_1);
    }

    /** Changes a node of the tree; of lines of JSON the first is left. */
    private byte[] node(byte[] bytes) {
        try {
            JsonNode tree = JSON.readTree(bytes);
            List<ContainerNode<?>> containers = new ArrayList<>();
            collect(tree, containers);
            containers.removeIf(ContainerNode::isEmpty);
            if (!containers.isEmpty()) {
                change(containers.get(random.nextInt(containers.size())), bytes.length < 1 << 16);
            }
            return JSON.writeValueAsBytes(tree);
        } catch (IOException | StackOverflowError damagedBefore) {
            return value(bytes);
        }
    }

    private static void collect(JsonNode node, List<ContainerNode<?>> containers) {
        if (node instanceof ContainerNode<?> container) {
            containers.add(container);
            container.forEach(child -> collect(child, containers));
        }
    }

    private void change(ContainerNode<?> container, boolean roomy) {
        int at = random.nextInt(container.size());
        if (container instanceof ObjectNode object) {
            String key = new ArrayList<>(object.properties()).get(at).getKey();
            JsonNode old = object.remove(key);
            switch (random.nextInt(4)) {
                case 0 -> object.set(key + "x", old);
                case 1 -> {} // gone
                default -> object.set(key, other(old));
            }
        } else if (container instanceof ArrayNode array) {
            switch (random.nextInt(4)) {
                case 0 -> array.remove(at);
                case 1 -> {
                    int times = 1 << random.nextInt(roomy ? 10 : 1);
                    for (int i = 0; i < times; i++) {
                        array.add(array.get(at));
                    }
                }
                default -> array.set(at, other(array.get(at)));
            }
        }
    }

    private JsonNode other(JsonNode old) {
        JsonNodeFactory nodes = JsonNodeFactory.instance;
        return switch (random.nextInt(14)) {
            case 0 -> nodes.nullNode();
            case 1 -> nodes.booleanNode(random.nextBoolean());
            case 2 -> nodes.numberNode(-1);
            case 3 -> nodes.numberNode(0);
            case 4 -> nodes.numberNode(Long.MAX_VALUE);
            case 5 -> nodes.numberNode(BigInteger.ONE.shiftLeft(200));
            case 6 -> nodes.numberNode(1e300);
            case 7 -> nodes.numberNode(old.asLong(7) + random.nextInt(5) - 2);
            case 8 -> nodes.textNode("");
            case 9 -> nodes.textNode(old.asText() + "\u0000\u2028\ud800");
            case 10 -> nodes.textNode("../" + old.asText());
            case 11 -> nodes.objectNode().set("a", old);
            case 12 -> nodes.arrayNode().add(old);
            default -> deep(nodes, 1 << random.nextInt(11));
        };
    }

    private static JsonNode deep(JsonNodeFactory nodes, int levels) {
        JsonNode inner = nodes.arrayNode();
        for (int i = 0; i < levels; i++) {
            inner = i % 2 == 0
                    ? nodes.objectNode().set("a", inner)
                    : nodes.arrayNode().add(inner);
        }
        return inner;
    }

    private byte[] bit(byte[] bytes, int at) {
        byte[] changed = bytes.clone();
        changed[at] ^= (byte) (1 << random.nextInt(8));
        return changed;
    }

    private byte[] special(byte[] bytes, int at) {
        byte[] changed = bytes.clone();
        byte[] candidates = {0, -1, 127, -128, '9', '{', '}', '[', '"', '\\', '-', ':', ',', '\n', '&', '*', '!'};
        changed[at] = candidates[random.nextInt(candidates.length)];
        return changed;
    }

    /** Overwrites up to eight bytes with a length, little- or big-endian. */
    private byte[] length(byte[] bytes, int at) {
        byte[] changed = bytes.clone();
        long value = LENGTHS[random.nextInt(LENGTHS.length)];
        boolean little = random.nextBoolean();
        int width = random.nextBoolean() ? 4 : 8;
        for (int i = 0; i < width && at + i < changed.length; i++) {
            int shift = 8 * (little ? i : width - 1 - i);
            changed[at + i] = (byte) (value >>> shift);
        }
        return changed;
    }

    /** Puts another value in the place of a number, text or word. */
    private byte[] value(byte[] bytes) {
        String text = new String(bytes, StandardCharsets.ISO_8859_1);
        List<int[]> places = VALUE.matcher(text)
                .results()
                .map(m -> new int[] {m.start(), m.end()})
                .limit(2000)
                .toList();
        if (places.isEmpty()) {
            return bit(bytes, random.nextInt(bytes.length));
        }
        int[] place = places.get(random.nextInt(places.size()));
        String other = VALUES.get(random.nextInt(VALUES.size()));
        String changed = text.substring(0, place[0]) + other + text.substring(place[1]);
        return changed.getBytes(StandardCharsets.ISO_8859_1);
    }

    private static byte[] tail(byte[] bytes, int from) {
        return Arrays.copyOfRange(bytes, from, bytes.length);
    }

    private static byte[] join(byte[] first, byte[] second) {
        ByteArrayOutputStream both = new ByteArrayOutputStream();
        both.writeBytes(first);
        both.writeBytes(second);
        return both.toByteArray();
    }
}
