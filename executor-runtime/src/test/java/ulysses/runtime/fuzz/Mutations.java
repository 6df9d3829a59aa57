package ulysses.runtime.fuzz;

import java.io.ByteArrayOutputStream;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.regex.Pattern;

/** Damaged copies of valid files, by a seed: bits and bytes, lengths, cuts, and for text other values, nesting and huge numbers. */
public final class Mutations {
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

    private final Random random;

    /** The mutations of {@code seed}. */
    public Mutations(long seed) {
        this.random = new Random(seed);
    }

    /** One to three changes of {@code valid}. */
    public byte[] of(byte[] valid) {
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
        return switch (random.nextInt(8)) {
            case 0 -> bit(bytes, at);
            case 1 -> special(bytes, at);
            case 2 -> Arrays.copyOf(bytes, at);
            case 3 -> length(bytes, random.nextBoolean() ? at : random.nextInt(Math.min(64, bytes.length)));
            case 4 -> join(Arrays.copyOf(bytes, at), tail(bytes, Math.min(bytes.length, at + 1 + random.nextInt(16))));
            case 5 -> join(Arrays.copyOf(bytes, Math.min(bytes.length, at + 1 + random.nextInt(64))), tail(bytes, at));
            default -> value(bytes);
        };
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
